// Images to this page's server, one after the other, and their answers on the page. Text is set as
// text, never as HTML.
"use strict";

const at = (id) => document.getElementById(id);
const waiting = []; // files that are not asked about yet
const found = []; // {name, answer} or {name, reason}, in the order of the table; of knees also film
let working = false;

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

// A model of located knees answers about a film: one entry a knee, or one that says there is none.
function entries(name, { answer, reason }) {
  if (!answer?.knees) return [{ name, answer, reason }];
  const film = { ...answer, path: name };
  if (!film.knees.length) return [{ name, reason: film.reason, film }];
  return film.knees.map((each) => ({ name: name + ", " + (each.side + " knee").trim(), answer: each, film }));
}

function showFilm(film, answer) {
  const { width, height } = film.film;
  at("film").src = "data:image/png;base64," + film.image;
  at("squares").setAttribute("viewBox", "0 0 " + width + " " + height);
  [...at("squares").children].forEach((square, number) => {
    const knee = film.knees[number];
    square.toggleAttribute("hidden", !knee);
    square.classList.toggle("chosen", knee === answer);
    if (!knee) return;
    const { left, top, side_pixels: side } = knee.box;
    const [x, y] = [Math.max(left, 0), Math.max(top, 0)];
    const sizes = { x, y, width: Math.min(left + side, width) - x, height: Math.min(top + side, height) - y };
    for (const [key, value] of Object.entries(sizes)) square.setAttribute(key, Math.max(value, 0));
  });
  const { left, top, side_pixels: side } = answer.box;
  at("film-caption").textContent =
    "The film, " + width + " x " + height + " px; the thick square is the knee: left " + left + ", top " + top +
    ", side " + side + " px, certainty " + answer.certainty.toFixed(2) + (film.film_note ? ". Doubtful: " + film.film_note : "");
}

function show({ name, answer, film }) {
  at("name").textContent = name;
  at("answer").textContent = answer.class;
  at("warning").hidden = !answer.warning;
  at("warning").textContent = answer.warning ? "This image is " + answer.warning + "." : "";
  if (film) showFilm(film, answer);
  at("seen").src = "data:image/png;base64," + answer.image;
  if (answer.grad_cam) {
    at("heat").src = "data:image/png;base64," + answer.grad_cam;
    at("heat").alt = "Heat map over the image: where the evidence for " + answer.class + " lies";
    at("heat-caption").textContent = "Evidence for " + answer.class + " (Grad-CAM)";
  }
  const names = answer.prediction_set.map((each) => made("li", each));
  at("set").replaceChildren(...(names.length ? names : [made("li", "no class fits", "none")]));
  const rows = Object.entries(answer.probabilities);
  at("bars").replaceChildren(...rows.map(([each, value]) => bar(each, value, each === answer.class)));
  showUnlikeness(answer);
  at("result").hidden = false;
}

function lookAt(id) {
  at(id).focus({ preventScroll: true });
  at(id).scrollIntoView({ block: "nearest" });
}

// Roles are said, since rows that are stacked on a phone lose those of a table.
function withRole(element, role) {
  element.setAttribute("role", role);
  return element;
}

function cellOf(label, text, className) {
  const element = withRole(made("td", text, className), "cell");
  element.dataset.label = label;
  return element;
}

function addRow(one) {
  const row = withRole(made("tr", ""), "row");
  const head = withRole(made("th", ""), "rowheader");
  if (one.answer) {
    const { answer } = one;
    const button = made("button", one.name, "link");
    button.type = "button";
    button.addEventListener("click", () => {
      show(one);
      lookAt("answer");
    });
    head.append(button);
    const score = answer.out_of_distribution;
    row.append(
      head,
      cellOf("Most likely", answer.class + ", " + percent(answer.probabilities[answer.class])),
      cellOf("Cannot be excluded", answer.prediction_set.join(", ") || "no class fits"),
      cellOf("Unlike", score === null ? "unknown" : score.toFixed(2) + (score > 1 ? ": do not use" : ""), score > 1 ? "over" : ""),
    );
  } else {
    head.textContent = one.name;
    const reason = cellOf("Not used", one.reason, "over");
    reason.colSpan = 3;
    row.append(head, reason);
  }
  at("rows").append(row);
  at("answers").hidden = false;
}

// The columns of stages.predict; texts that a spreadsheet program would take for formulas get a '.
function cell(value) {
  const isFlag = typeof value === "boolean";
  const text = isFlag ? (value ? "True" : "False") : String(value ?? "");
  const isFormula = typeof value === "string" && /^[=+\-@\t\r]/.test(text);
  return '"' + (isFormula ? "'" : "") + text.replaceAll('"', '""') + '"';
}

function place({ answer, film }) {
  if (!found.some((one) => one.film)) return {};
  return {
    knees: film?.knees.length ?? 0,
    side: answer?.side,
    box_left: answer?.box.left,
    box_top: answer?.box.top,
    box_side_pixels: answer?.box.side_pixels,
    certainty: answer?.certainty,
    film_width: film?.film.width,
    film_height: film?.film.height,
    film_note: film?.film_note,
  };
}

function columns({ name, answer, reason, film }) {
  const shown = answer || {};
  const first = found.find((one) => one.answer)?.answer;
  const classes = first ? Object.keys(first.probabilities) : [];
  return {
    ...(first?.synthetic_model ? { synthetic_model: first.synthetic_model } : {}),
    path: film?.path ?? name,
    ...place({ answer, film }),
    predicted: shown.class,
    ...Object.fromEntries(classes.map((each) => ["probability_" + each, shown.probabilities?.[each]])),
    median_class: shown.median_class,
    prediction_set: shown.prediction_set?.join("|"),
    out_of_distribution: shown.out_of_distribution,
    is_out_of_distribution: shown.is_out_of_distribution,
    warning: shown.warning,
    reason,
    model: first?.model.name,
    version: first?.model.version,
    notes: first?.notes.join("; "),
  };
}

function download() {
  const rows = found.map(columns);
  const lines = [Object.keys(rows[0]), ...rows.map((row) => Object.values(row))];
  const text = lines.map((line) => line.map(cell).join(",") + "\n").join("");
  const link = made("a", "");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function answered(file) {
  if (file.size > Number(at("image").dataset.largestBytes)) return { reason: "the file is too large for this page" };
  const headers = { "content-type": "application/octet-stream" };
  const token = at("token")?.value.trim();
  if (token) headers.authorization = "Bearer " + token;
  const response = await fetch("/image", { method: "POST", headers, body: file });
  if (response.status === 401) return { reason: "this server asks for its token, and this is not it: see above" };
  const answer = await response.json();
  return response.ok ? { answer } : { reason: answer.message };
}

async function ask(files) {
  waiting.push(...files);
  if (working || !waiting.length) return;
  working = true;
  at("failure").hidden = true;
  at("result").hidden = true;
  document.body.classList.add("busy");
  const begun = found.length;
  try {
    while (waiting.length) {
      const file = waiting.shift();
      const more = waiting.length ? ", " + waiting.length + " more to come" : "";
      at("status").textContent = "Looking at " + file.name + more + " …";
      for (const one of entries(file.name, await answered(file))) {
        found.push(one);
        addRow(one);
      }
    }
  } catch {
    waiting.length = 0;
    fail("The server does not answer. Is it still running?");
  }
  working = false;
  document.body.classList.remove("busy");
  const news = found.slice(begun);
  const good = news.filter((one) => one.answer);
  at("status").textContent = good.length === 1 ? good[0].name + ": " + good[0].answer.class : good.length + " images answered";
  const refused = news.find((one) => !one.answer);
  if (refused) fail(refused.name + " cannot be used: " + refused.reason + ".");
  if (good.length) show(good[0]);
  if (good.length) lookAt(news.length > 1 ? "answers-title" : "answer");
}

at("image").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // the same image may be chosen again
  ask(files);
});
at("download").addEventListener("click", download);

for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", async () => {
    const name = button.dataset.file;
    try {
      const content = await (await fetch("/examples/" + name)).blob();
      ask([new File([content], "drawn " + name)]);
    } catch {
      fail("The server does not answer. Is it still running?");
    }
  });
}

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
  ask(event.dataTransfer.files);
});
