// Says what people think of an answer without leaving the page, and notes what they do with it. Without it the forms post.
"use strict";

const SAID = {
  up: "Thank you. The answer was noted as helpful.",
  down: "Thank you. The answer was noted as not helpful.",
  correction: "Thank you. Your correction was noted.",
  escalated: "A person was asked to look at this answer.",
};

function feedbackOf(turn) {
  return turn?.querySelector("form.feedback");
}

async function say(form, button) {
  const status = form.querySelector("[role=status]");
  const text = form.elements.text;
  if (button.value === "correction" && !text.value.trim()) {
    status.textContent = "Write what the answer should say, then send it.";
    text.focus();
    return;
  }
  const body = new URLSearchParams(new FormData(form, button)).toString();
  const headers = { Accept: "application/json", "Content-Type": "application/x-www-form-urlencoded" };
  button.disabled = true;
  try {
    const response = await fetch("/ask/feedback", { method: "POST", body, headers, credentials: "same-origin" });
    if (!response.ok) throw new Error(response.statusText);
    status.textContent = SAID[button.value];
    for (const each of form.querySelectorAll("button[aria-pressed]")) {
      if (button.hasAttribute("aria-pressed")) each.setAttribute("aria-pressed", String(each === button));
    }
    if (button.value === "correction") {
      text.value = "";
      form.querySelector("details").open = false;
      form.querySelector("summary").focus();
    }
  } catch {
    status.textContent = "That was not noted. Please try again, or load the page anew.";
  } finally {
    button.disabled = false;
    if (document.activeElement === document.body) button.focus({ preventScroll: true });
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form.feedback") || !event.submitter) return;
  event.preventDefault();
  say(event.target, event.submitter);
});

// Each kind once for an answer; it is sent on even while the page goes.
const noted = new Set();

function note(turn, kind) {
  const form = feedbackOf(turn);
  const question = form?.elements.question.value;
  if (!question || noted.has(`${question} ${kind}`)) return;
  noted.add(`${question} ${kind}`);
  navigator.sendBeacon("/ask/interactions", new URLSearchParams({ form: form.elements.form.value, question, kind }));
}

document.addEventListener("copy", () => {
  const at = document.getSelection()?.anchorNode;
  const element = at instanceof Element ? at : at?.parentElement;
  if (element?.closest(".answer, .citations")) note(element.closest(".turn"), "copied");
});

document.addEventListener("click", (event) => {
  if (event.target.closest?.(".turn .ref, .turn .citations a")) note(event.target.closest(".turn"), "opened");
});

window.addEventListener("pagehide", () => {
  note([...document.querySelectorAll("#turns .turn")].pop(), "left");
});
