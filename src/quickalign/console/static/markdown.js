// Markdown as elements. Nothing a model says becomes HTML: every text is put in as text, and there are no images.

const INLINE = /(`+)([\s\S]+?)\1|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/g;

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

/** Text with code, bold, italic and links. */
function inline(text) {
  const found = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    found.push(text.slice(last, match.index));
    const [, , code, bold, italic, label, address] = match;
    if (code !== undefined) found.push(element("code", code));
    else if (bold !== undefined) found.push(element("strong", bold));
    else if (italic !== undefined) found.push(element("em", italic));
    else found.push(link(label, address));
    last = match.index + match[0].length;
  }
  return [...found, text.slice(last)];
}

function link(label, address) {
  const made = element("a", label);
  made.href = address;
  made.rel = "noopener noreferrer nofollow";
  made.target = "_blank";
  made.title = address;
  return made;
}

const LISTS = [["ul", /^\s*[-*+]\s+/], ["ol", /^\s*\d+[.)]\s+/]];

function block(lines) {
  const heading = /^(#{1,6})\s+(.*)/.exec(lines[0]);
  if (heading && lines.length === 1) return element("h3", ...inline(heading[2]));
  if (lines.every((line) => line.startsWith(">"))) return element("blockquote", ...inline(lines.map((line) => line.replace(/^>\s?/, "")).join("\n")));
  for (const [name, mark] of LISTS) {
    if (lines.every((line) => mark.test(line))) return element(name, ...lines.map((line) => element("li", ...inline(line.replace(mark, "")))));
  }
  const parts = lines.flatMap((line, place) => (place ? [document.createElement("br"), ...inline(line)] : inline(line)));
  return element("p", ...parts);
}

/** The elements of a Markdown text; an unfinished one is drawn as far as it goes. */
export function render(text) {
  const found = [];
  let lines = [];
  let code = null;
  const close = () => { if (lines.length) found.push(block(lines)); lines = []; };
  for (const line of text.split("\n")) {
    if (line.trimStart().startsWith("```")) {
      if (code === null) { close(); code = []; } else { found.push(element("pre", element("code", code.join("\n")))); code = null; }
    } else if (code !== null) code.push(line);
    else if (!line.trim()) close();
    else lines.push(line);
  }
  if (code !== null) found.push(element("pre", element("code", code.join("\n"))));
  close();
  for (const pre of found.filter((one) => one.tagName === "PRE")) pre.tabIndex = 0;
  return found;
}
