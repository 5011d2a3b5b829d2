// One image to this machine's server, and its answer on the page. Text is set as text, never as HTML.
"use strict";

const at = (id) => document.getElementById(id);
let asked = null; // the request under way

function made(name, text, className) {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function percent(value) {
  if (value > 0 && value < 0.001) return "< 0.1 %";
  if (value < 1 && value > 0.999) return "> 99.9 %";
  return (100 * value).toFixed(1) + " %";
}

function fail(message) {
  document.body.classList.remove("busy");
  at("status").textContent = "";
  at("failure").textContent = message;
  at("failure").hidden = false;
}

function bar(name, value, isBest) {
  const row = made("li", "", isBest ? "best" : "");
  const line = made("div", "");
  line.append(made("span", name), made("b", percent(value)));
  const track = made("i", "");
  const filled = made("span", "");
  filled.style.width = 100 * value + "%";
  track.setAttribute("aria-hidden", "true");
  track.append(filled);
  row.append(line, track);
  return row;
}

function showUnlikeness(answer) {
  const score = answer.out_of_distribution;
  const isKnown = score !== null;
  at("needle").style.width = isKnown ? Math.min(50 * score, 100) + "%" : "0";
  at("needle").parentElement.classList.toggle("over", answer.is_out_of_distribution === true);
  at("unlike").textContent = isKnown
    ? score.toFixed(2) + (score > 1 ? ": above 1, the limit" : ": below 1, the limit")
    : "This model cannot tell.";
}

function show(answer, fileName) {
  at("answer").textContent = answer.class;
  at("warning").hidden = !answer.warning;
  at("warning").textContent = answer.warning ? "This image is " + answer.warning + "." : "";
  at("seen").src = "data:image/png;base64," + answer.image;
  at("heat").src = "data:image/png;base64," + answer.grad_cam;
  at("heat").alt = "Heat map over the image: where the evidence for " + answer.class + " lies";
  at("heat-caption").textContent = "Evidence for " + answer.class + " (Grad-CAM)";
  const names = answer.prediction_set.map((name) => made("li", name));
  at("set").replaceChildren(...(names.length ? names : [made("li", "no class fits", "none")]));
  const rows = Object.entries(answer.probabilities);
  at("bars").replaceChildren(...rows.map(([name, value]) => bar(name, value, name === answer.class)));
  showUnlikeness(answer);
  at("result").hidden = false;
  at("status").textContent = fileName + ": " + answer.class;
  document.body.classList.remove("busy");
  at("answer").focus({ preventScroll: true });
  at("result").scrollIntoView({ block: "nearest" });
}

async function ask(file) {
  if (asked) asked.abort();
  const mine = (asked = new AbortController());
  at("failure").hidden = true;
  at("result").hidden = true;
  if (file.size > Number(at("image").dataset.largestBytes)) {
    fail("The file is too large for this page.");
    return;
  }
  document.body.classList.add("busy");
  at("status").textContent = "Looking at " + file.name + " …";
  try {
    const response = await fetch("/image", {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: file,
      signal: mine.signal,
    });
    const answer = await response.json();
    if (mine.signal.aborted) return;
    if (response.ok) show(answer, file.name);
    else fail("This file cannot be used: " + answer.message + ".");
  } catch (error) {
    if (error.name !== "AbortError") fail("The server does not answer. Is it still running?");
  }
}

at("image").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // the same image may be chosen again
  if (file) ask(file);
});

for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.add("dragged");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragged");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragged");
  const [file] = event.dataTransfer.files;
  if (file) ask(file);
});
