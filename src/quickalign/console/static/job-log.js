// The log in pieces: a few windows are in the page at a time, however long the whole is.
import { ask } from "./requests.js";
import { number, say, size } from "./texts.js";

const WINDOW = 48 * 1024;
const KEPT = 6;
const NEAR = 200;

export class JobLog {
  constructor(root, address) {
    this.address = address;
    this.box = root.querySelector("[data-log]");
    this.place = root.querySelector("[data-log-place]");
    this.text = root.querySelector("[data-log-text]");
    this.pieces = [];
    this.busy = false;
    this.found = null;
    this.missed = false;
    this.box.addEventListener("scroll", () => this.scrolled());
    root.querySelector("[data-log-next]").addEventListener("click", () => this.search(false));
    root.querySelector("[data-log-previous]").addEventListener("click", () => this.search(true));
    root.querySelector("[data-log-first]").addEventListener("click", () => this.show(0));
    root.querySelector("[data-log-last]").addEventListener("click", () => this.show("end"));
    this.text.addEventListener("keydown", (event) => { if (event.key === "Enter") this.search(event.shiftKey); });
  }

  async open() {
    if (!this.pieces.length) await this.show("end");
  }

  async show(at) {
    const piece = await this.read(at);
    this.missed = false;
    this.box.replaceChildren();
    this.pieces = [];
    this.add(piece, false);
    this.box.scrollTop = at === "end" ? this.box.scrollHeight : 0;
    this.tell();
  }

  async grow(total) {
    this.total = total;
    const last = this.pieces.at(-1);
    if (!last) { await this.open(); return; }
    const atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR;
    if (atEnd && last.next < total) {
      this.add(await this.read(last.next), false);
      this.box.scrollTop = this.box.scrollHeight;
    }
    if (!this.missed) this.tell();
  }

  async read(at, to) {
    const piece = await ask(`${this.address}/log?at=${at}${to === undefined ? "" : `&to=${to}`}`);
    this.total = piece.size;
    return piece;
  }

  add(piece, before) {
    if (!piece.text) return;
    piece.node = document.createElement("span");
    piece.node.textContent = piece.text;
    const height = this.box.scrollHeight;
    if (before) { this.pieces.unshift(piece); this.box.prepend(piece.node); this.box.scrollTop += this.box.scrollHeight - height; }
    else { this.pieces.push(piece); this.box.append(piece.node); }
    if (this.pieces.length > KEPT) (before ? this.pieces.pop() : this.pieces.shift()).node.remove();
  }

  async scrolled() {
    if (this.busy || !this.pieces.length) return;
    const [first, last] = [this.pieces[0], this.pieces.at(-1)];
    const below = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight;
    this.busy = true;
    try {
      if (this.box.scrollTop < NEAR && first.start > 0) {
        this.add(await this.read(Math.max(0, first.start - WINDOW), first.start), true);
      } else if (below < NEAR && last.next < this.total) {
        this.add(await this.read(last.next), false);
      }
      this.tell();
    } finally {
      this.busy = false;
    }
  }

  async search(backwards) {
    const text = this.text.value;
    if (!text) return;
    let from = this.found?.text === text ? this.found.at + (backwards ? 0 : 1) : backwards ? this.total : 0;
    for (;;) {
      const query = new URLSearchParams({ text, from, backwards: backwards ? "1" : "0" });
      const answer = await ask(`${this.address}/log/search?${query}`);
      if (answer.found !== null) { this.found = { text, at: answer.found }; await this.reveal(answer.found, text); return; }
      if (answer.reached === null) { this.found = null; this.missed = true; this.place.textContent = say("“%(text)s” is not found any further.", { text }); return; }
      from = answer.reached;
      this.place.textContent = say("Searched to %(place)s of %(total)s…", { place: size(from), total: size(answer.size) });
    }
  }

  async reveal(at, text) {
    await this.show(Math.max(0, at - WINDOW / 4));
    const piece = this.pieces[0];
    const bytes = new TextEncoder().encode(piece.text);
    const place = new TextDecoder().decode(bytes.slice(0, at - piece.start)).length;
    const mark = document.createElement("mark");
    mark.textContent = piece.text.slice(place, place + text.length);
    piece.node.replaceChildren(piece.text.slice(0, place), mark, piece.text.slice(place + text.length));
    mark.scrollIntoView({ block: "center" });
    this.tell();
  }

  tell() {
    const [first, last] = [this.pieces[0], this.pieces.at(-1)];
    if (!first) { this.place.textContent = say("The job has said nothing yet."); return; }
    const values = { first: number(first.start, 0), last: number(last.next, 0), total: size(this.total) };
    this.place.textContent = say("Bytes %(first)s to %(last)s of %(total)s", values);
  }
}
