// What was typed outlives the end of a session: after signing in anew, the page has it again, and nothing is sent by itself.
const STORE = "quickalign.typed";
// a password is nobody's to keep, and a script may not fill in a file
const TYPED = 'input[id]:not([type="password"], [type="file"], [type="hidden"]), textarea[id], select[id]';

/** The session that the page is of: its token's id, and its mark, which no other session has. */
function session() {
  const mark = document.querySelector('meta[name="csrf"]');
  return mark && { who: mark.dataset.who, mark: mark.content };
}

function here() {
  return window.location.pathname + window.location.search;
}

function isChanged(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.tagName === "SELECT") return field.value !== ([...field.options].find((one) => one.defaultSelected) ?? field.options[0])?.value;
  return field.value !== field.defaultValue;
}

function valueOf(field) {
  return field.type === "checkbox" || field.type === "radio" ? field.checked : field.value;
}

function fill(field, value) {
  if (typeof value === "boolean") field.checked = value;
  else field.value = value;
  field.closest("details")?.setAttribute("open", "");
  for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
}

function keep() {
  const mine = session();
  if (!mine) return;
  const fields = [...document.querySelectorAll(TYPED)].filter(isChanged).map((field) => [field.id, valueOf(field)]);
  try {
    if (fields.length) sessionStorage.setItem(STORE, JSON.stringify({ ...mine, here: here(), fields }));
    else sessionStorage.removeItem(STORE);
  } catch { /* a browser without room keeps nothing */ }
}

function giveBack() {
  const mine = session();
  if (!mine) return;
  const kept = JSON.parse(sessionStorage.getItem(STORE));
  sessionStorage.removeItem(STORE);
  // in a session that goes on, a page is as the server sent it; and what one person typed is not another's
  if (!kept || kept.here !== here() || kept.who !== mine.who || kept.mark === mine.mark) return;
  for (const [id, value] of kept.fields) {
    const field = document.getElementById(id);
    if (field) fill(field, value);
  }
}

window.addEventListener("pagehide", keep);
// behind the modules of the page, which hear of what is filled in
window.addEventListener("load", giveBack);
