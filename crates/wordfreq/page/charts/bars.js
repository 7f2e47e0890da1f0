// Words as horizontal bars: a list that is read as one, so that it needs no other text beside it.

import { integer } from '../format.js';
import { html } from '../html.js';
import { WordLink } from '../parts/basics.js';

/** `counts` is `[{word, count}]`, largest first. */
export function Bars({ counts, label }) {
  const most = counts[0]?.count ?? 0;
  return html`
    <ol class="bars" aria-label=${label}>
      ${counts.map(
        ({ word, count }) => html`
          <li key=${word}>
            <span class="bar-word"><${WordLink} word=${word} /></span>
            <span class="bar-track" aria-hidden="true"><span class="bar-fill" style=${{ width: `${(count / most) * 100}%` }}></span></span>
            <span class="number">${integer(count)}</span>
          </li>
        `,
      )}
    </ol>
  `;
}
