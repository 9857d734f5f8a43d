// A file on its way to the server, with its progress. Pages hear of it by the event `uploaded`.
import { csrf, unpack } from "./requests.js";
import { say, size } from "./texts.js";

let running = null;

for (const drop of document.querySelectorAll("[data-drop]")) {
  const input = drop.querySelector("[data-upload]");
  input.addEventListener("change", () => {
    if (input.files[0]) send(drop, input.files[0]);
    // the same file, corrected, is another one
    input.value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) send(drop, event.dataTransfer.files[0]);
    });
  }
}

function send(drop, file) {
  running?.abort();
  const progress = drop.querySelector("[data-upload-progress]");
  const status = drop.querySelector("[data-upload-status]");
  const cancel = drop.querySelector("[data-upload-cancel]");
  const request = running = new XMLHttpRequest();
  request.open("POST", `/console/files?filename=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.setRequestHeader("X-CSRF-Token", csrf);
  progress.value = 0;
  progress.hidden = cancel.hidden = false;
  cancel.onclick = () => { request.abort(); status.textContent = ""; };
  request.addEventListener("loadend", () => { if (running === request) progress.hidden = cancel.hidden = true; });
  request.upload.addEventListener("progress", (event) => {
    progress.value = event.total ? event.loaded / event.total : 0;
    status.textContent = say("%(done)s of %(total)s", { done: size(event.loaded), total: size(event.total) });
  });
  request.addEventListener("error", () => { status.textContent = say("The connection was lost. Send the file again."); });
  request.addEventListener("load", () => {
    try {
      finish(drop, status, unpack(request.status, JSON.parse(request.responseText)));
    } catch (error) {
      status.textContent = error.message;
    }
  });
  request.send(file);
}

function finish(drop, status, stored) {
  status.textContent = say("%(name)s is here.", { name: stored.filename });
  if (drop.dataset.then) window.location.assign(drop.dataset.then + stored.id);
  drop.dispatchEvent(new CustomEvent("uploaded", { bubbles: true, detail: stored }));
}
