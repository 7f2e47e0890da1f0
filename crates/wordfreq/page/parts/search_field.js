// A field to search by: its value goes into the address, so that what was found can be linked to.

import { html, useEffect, useState } from '../html.js';
import { refine } from '../router.js';

const TYPING_MS = 250;

/** A field whose value goes into the address a moment after the last letter. */
export function SearchField({ label, name, value, placeholder, hint }) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  useEffect(() => {
    if (typed === value) return undefined;
    const timer = setTimeout(() => refine({ [name]: typed }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  return html`
    <label class="field">${label}
      <input type="search" dir="auto" value=${typed} placeholder=${placeholder} title=${hint} autocomplete="off" spellcheck=${false}
        onInput=${(event) => setTyped(event.target.value)} />
    </label>
  `;
}
