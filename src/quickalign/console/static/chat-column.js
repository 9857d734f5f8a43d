// One service's side of a conversation.
import { complete } from "./completions.js";
import { render } from "./markdown.js";
import { number, say } from "./texts.js";

export class Column {
  /** `titles` says how the services are called here; a message of the model says by which service it is. */
  constructor(service, titles, facts, messages = []) {
    Object.assign(this, { service, titles, facts, messages });
    this.box = document.createElement("div");
    this.box.className = "talk";
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "log");
    this.draw();
  }

  get title() {
    return this.titles.get(this.service) ?? this.service;
  }

  /** The last answer, or null where the user spoke last, or another service. */
  get answer() {
    const last = this.messages.at(-1);
    return last?.role === "assistant" && !last.failed && last.by === this.service && last.content ? last.content : null;
  }

  /** What the last answer is an answer to. */
  get before() {
    return this.messages.slice(0, -1).filter((one) => !one.failed).map(({ role, content }) => ({ role, content }));
  }

  draw() {
    this.box.setAttribute("aria-label", this.title);
    const said = this.messages.map((message) => this.bubble(message));
    this.box.replaceChildren(...(said.length ? said : [this.silence()]));
    this.down();
  }

  /** Whose column it is, before anybody has spoken in it. */
  silence() {
    const silent = document.createElement("p");
    silent.className = "silent";
    silent.textContent = this.title;
    return silent;
  }

  bubble(message) {
    const said = document.createElement("div");
    said.className = `said ${message.role}`;
    const who = document.createElement("div");
    who.className = "who";
    who.textContent = message.role === "user" ? say("You") : this.speaker(message);
    const facts = document.createElement("span");
    facts.textContent = message.facts ?? "";
    who.append(facts);
    const bubble = document.createElement("div");
    bubble.className = `bubble${message.failed ? " failed" : ""}`;
    if (message.role === "user") bubble.textContent = message.content;
    else bubble.append(...render(message.content));
    said.append(who, bubble);
    return said;
  }

  /** Who said a message: by the name it has here, or by its own once it was voted for. */
  speaker({ by, settled }) {
    return settled ? by : this.titles.get(by) ?? by ?? this.title;
  }

  down() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  /** The model's answer; `unseen`: nobody can tell whose it is. */
  async ask(system, sampling, signal, unseen) {
    const asked = this.messages.filter((one) => !one.failed).map(({ role, content }) => ({ role, content }));
    if (system) asked.unshift({ role: "system", content: system });
    const message = { role: "assistant", content: "", by: this.service, source: this.facts, unseen };
    this.messages.push(message);
    const place = this.bubble(message);
    this.box.append(place);
    let waiting = false;
    const show = () => {
      waiting = false;
      const atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 120;
      place.querySelector(".bubble").replaceChildren(...render(message.content));
      if (atEnd) this.down();
    };
    try {
      const facts = await complete(this.service, asked, sampling, signal, (text) => {
        message.content += text;
        if (!waiting) { waiting = true; window.requestAnimationFrame(show); }
      });
      message.facts = say("%(tokens)s tokens, %(speed)s tokens/s", { tokens: number(facts.tokens, 0), speed: number(facts.tokens / Math.max(facts.seconds, 0.001), 1) });
    } catch (error) {
      if (error.name === "AbortError") message.facts = say("stopped");
      else {
        message.failed = true;
        // a browser has words of its own for a server that is gone
        message.content = error instanceof TypeError ? say("The server does not answer. Check that it runs, and try again.") : error.message;
      }
    }
    place.replaceWith(this.bubble(message));
    this.down();
  }

  forgetAnswer() {
    while (this.messages.at(-1)?.role === "assistant") this.messages.pop();
    this.draw();
  }
}
