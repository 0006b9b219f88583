// Streams an answer into the page. Without it the form posts, and the page comes back with the whole answer.
"use strict";

const form = document.getElementById("ask");
const box = form.elements.question;
const turns = document.getElementById("turns");
const announce = document.getElementById("announce");
const send = form.querySelector("button[type=submit]");
const stop = document.getElementById("stop");
const MAX_RESUMES = 5;
const LONGEST_WAIT_MS = 120_000;
const NEVER_ACTS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

let asking = null;

function inert(text) {
  return String(text ?? "").replace(NEVER_ACTS, "\ufffd");
}

function sentence(text) {
  const found = String(text ?? "").trim();
  return found && found[0].toUpperCase() + found.slice(1) + (/[.!?:]$/.test(found) ? "" : ".");
}

function fresh(name) {
  return document.getElementById(name).content.firstElementChild.cloneNode(true);
}

function sourceAddress(citation) {
  const query = new URLSearchParams({ id: citation.document, version: citation.version, start: citation.start, end: citation.end });
  return `/corpus/document?${query}#span`;
}

class Turn {
  constructor(question) {
    this.root = fresh("turn");
    this.root.querySelector(".question").textContent = inert(question);
    this.answer = this.root.querySelector(".answer");
    this.feedback = this.root.querySelector("form.feedback");
    this.attempt = 0;
    this.ended = false;
    turns.append(this.root);
    this.root.scrollIntoView({ block: "start" });
  }

  add(piece) {
    if (piece.attempt > this.attempt) {
      this.attempt = piece.attempt;
      this.answer.textContent = "";
    }
    if (piece.attempt === this.attempt) this.answer.append(inert(piece.text));
  }

  complete(found) {
    if (!found.found) {
      this.replace("", "The documents that you may read do not say.", found.text);
    } else {
      this.fill(found.text, found.citations);
      this.cite(found.citations);
    }
    this.facts(found);
    this.end();
  }

  fill(text, citations) {
    const pieces = [];
    let at = 0;
    for (const match of text.matchAll(/\[(\d{1,3})\]/g)) {
      const citation = citations[Number(match[1]) - 1];
      if (!citation) continue;
      const link = document.createElement("a");
      link.className = "ref";
      link.href = sourceAddress(citation);
      link.textContent = match[1];
      link.setAttribute("aria-label", `Source ${match[1]}`);
      pieces.push(inert(text.slice(at, match.index)), link);
      at = match.index + match[0].length;
    }
    this.answer.replaceChildren(...pieces, inert(text.slice(at)));
  }

  cite(citations) {
    const list = this.root.querySelector(".citations");
    citations.forEach((citation, n) => {
      const item = fresh("source");
      item.querySelector("a").href = sourceAddress(citation);
      item.querySelector(".number").textContent = n + 1;
      item.querySelector(".title bdi").textContent = inert(citation.title || citation.document);
      item.querySelector(".version").textContent = `version ${citation.version}`;
      const heading = item.querySelector(".heading");
      heading.hidden = !citation.heading;
      heading.firstElementChild.textContent = inert(citation.heading);
      item.querySelector("blockquote").textContent = inert(citation.quote);
      list.append(item);
    });
    list.hidden = citations.length === 0;
  }

  facts(found) {
    const line = this.root.querySelector(".facts");
    const price = found.cost_usd ? `$${found.cost_usd.toFixed(4)}` : "free";
    for (const text of [`${((performance.now() - this.began) / 1000).toFixed(2)} s`, inert(found.model), price]) {
      if (!text) continue;
      const part = document.createElement("span");
      part.textContent = text;
      line.append(part);
    }
    const link = document.createElement("a");
    link.href = `/traces/${encodeURIComponent(found.question)}`;
    link.textContent = "How this was answered";
    line.append(link);
    line.hidden = false;
  }

  // Whatever was streamed goes: a notice stands in its place.
  replace(kind, title, text) {
    const notice = fresh("notice");
    if (kind) notice.classList.add(kind);
    notice.querySelector("strong").textContent = title;
    notice.querySelector("span").textContent = inert(text);
    this.answer.replaceChildren();
    this.answer.hidden = true;
    this.root.querySelector(".citations").hidden = true;
    this.answer.after(notice);
    announce.textContent = `${title} ${inert(text)}`;
  }

  fail(kind, title, text) {
    if (this.ended) return;
    this.replace(kind, title, text);
    this.end();
  }

  // Whose answer it is; a question that is asked again has another name.
  name(question, conversation) {
    this.feedback.elements.question.value = question;
    this.feedback.elements.conversation.value = conversation;
  }

  end() {
    this.ended = true;
    this.feedback.hidden = !this.feedback.elements.question.value;
    this.answer.setAttribute("aria-busy", "false");
  }
}

// Server-sent events of a response's body: {name, id, data} each.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const found = { name: "message", id: "", data: "" };
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) found.name = line.slice(7);
        else if (line.startsWith("id: ")) found.id = line.slice(4);
        else if (line.startsWith("data: ")) found.data += line.slice(6);
      }
      if (found.data) yield { ...found, data: JSON.parse(found.data) };
    }
  }
}

function take(turn, event) {
  const { name, data } = event;
  if (name === "accepted") {
    form.elements.conversation.value = data.conversation;
    turn.name(data.question, data.conversation);
  } else if (name === "delta") {
    turn.add(data);
  } else if (name === "completed") {
    form.elements.conversation.value = data.conversation || form.elements.conversation.value;
    form.elements.watermark.value = data.watermark;
    turn.complete(data);
  } else if (name === "retracted") {
    turn.fail("taken-back", "This answer was taken back.", sentence(data.reason));
  } else if (name === "failed") {
    turn.fail("failed", "No answer.", sentence(data.detail || data.title || "Please ask again"));
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

// When to come again, where a replica has no place for a stream that has begun elsewhere: its answer is being made.
function comeAgain(response) {
  if (response.status !== 429 && response.status !== 503) return 0;
  return 1000 * Math.max(1, Number(response.headers.get("Retry-After")) || 1);
}

async function follow(turn, body, signal) {
  let last = "";
  let waited = 0;
  for (let n = 0; n <= MAX_RESUMES && !turn.ended; n += 1) {
    if (n) await pause(300 * n, signal);
    const headers = { Accept: "text/event-stream", "Content-Type": "application/x-www-form-urlencoded" };
    if (last) headers["Last-Event-ID"] = last;
    try {
      const response = await fetch("/ask", { method: "POST", body, headers, signal, credentials: "same-origin" });
      const again = last ? comeAgain(response) : 0;
      if (again && waited + again <= LONGEST_WAIT_MS) {
        waited += again;
        n -= 1;
        await pause(again, signal);
        continue;
      }
      if (!response.ok) {
        const problem = await response.json().catch(() => ({}));
        const wait = problem.retry_after_ms ? ` Try again in ${Math.ceil(problem.retry_after_ms / 1000)} s.` : "";
        turn.fail("failed", "No answer.", sentence(problem.detail || problem.title || "The gateway did not take the question") + wait);
        return;
      }
      for await (const event of events(response)) {
        last = event.id || last;
        take(turn, event);
      }
    } catch (error) {
      if (signal.aborted) return;
    }
    if (!last) break;
  }
  turn.fail("failed", "No answer.", "The connection was lost. Please ask again.");
}

async function ask() {
  const question = box.value.trim();
  if (!question || asking) return;
  asking = new AbortController();
  const body = new URLSearchParams(new FormData(form)).toString();
  document.getElementById("main").classList.remove("empty");
  const turn = new Turn(question);
  turn.began = performance.now();
  box.value = "";
  announce.textContent = "Looking for an answer.";
  send.hidden = true;
  stop.hidden = false;
  if (document.activeElement === send) stop.focus();
  await follow(turn, body, asking.signal);
  if (asking.signal.aborted) turn.fail("", "Stopped.", "The question was given up.");
  const stayed = document.activeElement === stop || document.activeElement === document.body;
  asking = null;
  send.hidden = false;
  stop.hidden = true;
  if (stayed) box.focus({ preventScroll: true });
  if (form.elements.conversation.value) {
    history.replaceState(null, "", `/ask?${new URLSearchParams({ conversation: form.elements.conversation.value })}`);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    ask();
  }
});

stop.addEventListener("click", () => asking?.abort());
