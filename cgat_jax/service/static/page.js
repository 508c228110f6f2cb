// The page: a query, its answers, and the same after an attack. Text is put in as text.
"use strict";

const at = (id) => document.getElementById(id);
const networks = [...document.querySelectorAll(".network")];
const form = at("form"), k = form.dataset.k;
let query = null; // {photo} or {number}, with labels if they are known
let asked = 0; // counts queries, so that a late answer to an old one is dropped

function say(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

async function problemOf(response) {
  try {
    return (await response.json()).error || response.statusText;
  } catch {
    return `the service answered ${response.status}`;
  }
}

function bodyOf(fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  if (query.photo) body.append("image", query.photo);
  else body.append("query", query.number);
  return body;
}

const bits = (count) => `${count} ${count === 1 ? "bit" : "bits"}`;

function showAnswers(list, found) {
  const cards = found.answers.map((answer) => {
    const card = at("answer").content.firstElementChild.cloneNode(true);
    const image = card.querySelector("img"), badge = card.querySelector(".badge");
    image.src = `/images/${answer.number}?index=${encodeURIComponent(found.index)}`;
    image.alt = `${answer.labels.join(", ") || answer.id}`;
    card.title = String(answer.id);
    if (answer.correct !== null) {
      card.className = answer.correct ? "yes" : "no";
      badge.textContent = answer.correct ? "\u2713" : "\u2717";
      badge.hidden = false;
    }
    card.querySelector(".labels").textContent = answer.labels.join(", ") || answer.id;
    card.querySelector(".distance").textContent = bits(answer.distance);
    return card;
  });
  list.replaceChildren(...cards);
}

function countOf(found) {
  const known = found.answers.filter((answer) => answer.correct !== null);
  if (!known.length) return "";
  return `${known.filter((a) => a.correct).length} of ${known.length} correct`;
}

function showVerdict(block, alarm) {
  const verdict = block.querySelector(".verdict");
  verdict.hidden = !alarm;
  if (!alarm) return;
  const rate = `${+(100 * alarm.false_alarms).toPrecision(2)} %`;
  const p = `p = ${+alarm.p_value.toPrecision(2)}`;
  verdict.classList.toggle("raised", alarm.raised);
  verdict.textContent = alarm.raised
    ? `Alarm: an unusual query (${p}); calibrated to ${rate} of clean queries.`
    : `No alarm (${p}; calibrated to ${rate} of clean queries).`;
}

async function search() {
  const now = ++asked;
  say("");
  if (at("go")) at("go").disabled = false;
  for (const network of networks) network.querySelector(".after").hidden = true;
  await Promise.all(networks.map(async (network) => {
    const fields = { index: network.dataset.index, k, alarm: 1 };
    const response = await fetch("/search", { method: "POST", body: bodyOf(fields) });
    if (now !== asked) return;
    const block = network.querySelector(".before");
    block.hidden = !response.ok;
    if (!response.ok) {
      if (at("go")) at("go").disabled = true;
      say(await problemOf(response));
      return;
    }
    const found = await response.json();
    showAnswers(block.querySelector("ol"), found);
    block.querySelector("span").textContent = countOf(found);
    showVerdict(block, found.alarm);
  })).catch(() => say("the service does not answer"));
}

function choose(next, picture, about) {
  query = next;
  at("shown").src = picture;
  at("shown").hidden = false;
  at("shown").classList.toggle("small", Boolean(next.number));
  at("about").textContent = about;
  search();
}

function choosePhoto(photo) {
  for (const pick of form.querySelectorAll("[name=query]")) pick.checked = false;
  choose({ photo }, URL.createObjectURL(photo), photo.name);
}

form.addEventListener("submit", (event) => event.preventDefault());
at("photo").addEventListener("change", (event) => {
  if (event.target.files.length) choosePhoto(event.target.files[0]);
});
at("shown").addEventListener("error", () => { at("shown").hidden = true; });
form.addEventListener("change", (event) => {
  if (event.target.name !== "query") return;
  at("photo").value = "";
  const labels = JSON.parse(event.target.dataset.labels).join(", ");
  const number = event.target.value;
  choose({ number }, `/queries/${number}`, `A query of the index: ${labels}`);
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  at("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      choosePhoto(event.dataTransfer.files[0]);
    }
  });
}

function strip(code, other) {
  return [...code].map((bit, i) => {
    const cell = document.createElement("b");
    cell.classList.toggle("on", bit > 0);
    cell.classList.toggle("flipped", Boolean(other) && other[i] !== bit);
    return cell;
  });
}

function showAttack(result) {
  const network = networks.find((one) => one.dataset.index === result.index);
  const block = network.querySelector(".after"), { before, after } = result;
  const images = block.querySelectorAll(".triple img");
  result.pictures.forEach((url, i) => { images[i].src = url; });
  block.querySelectorAll("figcaption")[2].textContent =
    `difference, at most ${result.levels}/255, magnified`;
  const flipped = before.code.filter((bit, i) => bit !== after.code[i]).length;
  const [first, second] = block.querySelectorAll(".codes p");
  first.querySelector(".strip").replaceChildren(...strip(before.code));
  second.querySelector(".strip").replaceChildren(...strip(after.code, before.code));
  second.querySelector("small").textContent = `${flipped} flipped`;
  showAnswers(block.querySelector("ol"), after);
  const assumed = result.assumed
    ? ` Its classes are taken from its nearest answers: ${result.labels.join(", ")}.` : "";
  block.querySelector(".when span").textContent =
    `${result.attack}: ${countOf(after)}, before ${countOf(before)}.${assumed}`;
  showAnswers(network.querySelector(".before ol"), before);
  network.querySelector(".before span").textContent = countOf(before);
  showVerdict(network.querySelector(".before"), before.alarm);
  showVerdict(block, after.alarm);
  block.hidden = false;
}

async function attack() {
  const now = asked, progress = at("progress");
  say("");
  at("go").disabled = true;
  progress.value = 0;
  progress.hidden = false;
  const fields = { attack: at("choice").value, levels: at("levels").value, k };
  const response = await fetch("/attack", { method: "POST", body: bodyOf(fields) });
  if (!response.ok) throw new Error(await problemOf(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (text + value).split("\n");
    text = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.error) throw new Error(event.error);
      if (event.of) progress.value = event.step / event.of;
      if (event.result && now === asked) showAttack(event.result);
    }
  }
}

if (at("attack")) {
  at("levels").addEventListener("input", () => {
    at("budget").textContent = `${at("levels").value}/255`;
  });
  at("attack").addEventListener("submit", (event) => {
    event.preventDefault();
    attack().catch((error) => say(error.message)).finally(() => {
      at("progress").hidden = true;
      at("go").disabled = false;
    });
  });
}
