// The words of one document as a table, in bounded steps: a document may have a million of them.

import { decimal, integer } from '../format.js';
import { html, useState } from '../html.js';
import { Table, WordLink } from './basics.js';

const STEP = 100;

export function WordTable({ counts, words, distinct }) {
  const [shown, setShown] = useState(STEP);
  return html`
    <${Table} label="Words of the document" head=${html`
        <th scope="col" class="number">Rank</th><th scope="col">Word</th><th scope="col" class="number">Count</th>
        <th scope="col" class="number">Per million</th>`}>
      ${counts.slice(0, shown).map(
        ({ word, count }, i) => html`<tr key=${word}>
          <td class="number muted">${integer(i + 1)}</td><th scope="row"><${WordLink} word=${word} /></th>
          <td class="number">${integer(count)}</td><td class="number">${decimal((count / words) * 1e6)}</td></tr>`,
      )}
    <//>
    <div class="more">
      <span>Words 1 to ${integer(Math.min(shown, counts.length))} of ${integer(distinct)}</span>
      ${shown < counts.length && html`<button onClick=${() => setShown(shown + STEP)}>Load more</button>`}
      ${shown >= counts.length && counts.length < distinct && html`<span class="muted">The rest is in the export.</span>`}
    </div>
  `;
}
