// The first bytes of a document as text, when asked for: they may be private, so they are not fetched unasked.

import { get } from '../api.js';
import { html, useState } from '../html.js';
import { ProblemNote } from './basics.js';

export function Preview({ bucket, name }) {
  const [shown, setShown] = useState(null);
  const show = async () => {
    try {
      setShown({ answer: await get('/document/content', { bucket, key: name, preview: true }) });
    } catch (problem) {
      setShown({ problem });
    }
  };
  if (!shown) return html`<button onClick=${show}>Show the beginning</button>`;
  if (shown.problem) return html`<${ProblemNote} problem=${shown.problem} retry=${show} />`;
  const { text, truncated } = shown.answer;
  return html`
    <div class="preview">
      <pre dir="auto" tabindex="0" aria-label="The beginning of the document">${text === '' ? '(no bytes)' : text}</pre>
      ${truncated && html`<p class="muted">Only the beginning is shown.</p>`}
      <button class="plain" onClick=${() => setShown(null)}>Hide</button>
    </div>
  `;
}
