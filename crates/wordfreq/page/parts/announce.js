// What was done is said in one place, at the foot of the page, for eyes and screen readers alike.

import { Cell, useCell } from '../cell.js';
import { html, useEffect } from '../html.js';

const SHOWN_MS = 8000;

const notice = new Cell(null);

/** Says that something was done, or (`bad`) that it was not. */
export function say(text, bad = false) {
  notice.value = { text, bad };
}

/** Does something and says how it went; answers whether it was done. */
export async function attempt(work, done) {
  try {
    const answer = await work();
    say(typeof done === 'function' ? done(answer) : done);
    return true;
  } catch (problem) {
    say(problem.message, true);
    return false;
  }
}

export function Announcements() {
  const current = useCell(notice);
  useEffect(() => {
    // What went wrong stays until it is read.
    if (!current || current.bad) return undefined;
    const timer = setTimeout(() => {
      notice.value = null;
    }, SHOWN_MS);
    return () => clearTimeout(timer);
  }, [current]);
  return html`
    <div class="announcements" role="status" aria-live="polite">
      ${current &&
      html`<div class=${current.bad ? 'announcement bad' : 'announcement'}>
        <span dir="auto">${current.text}</span>
        <button class="plain" onClick=${() => (notice.value = null)}>Dismiss</button>
      </div>`}
    </div>
  `;
}
