// Rank against count on two logarithmic axes. Where a text follows Zipf's law this is a straight line that falls by one
// decade a decade; the line that fits best is drawn beside it.

import { compact, decimal, integer } from '../format.js';
import { html, useMemo, useState } from '../html.js';
import { Table, WordLink, shown } from '../parts/basics.js';
import { fit } from './geometry.js';
import { Plot, axis } from './plot.js';

const HEIGHT = 340;
const TABLE_ROWS = 40;

/** Only whole decades have a label: what lies between them would run together. */
const decades = (_, splits) => splits.map((value) => (value > 0 && Number.isInteger(Math.log10(value)) ? compact(value) : ''));

export function Zipf({ points, distinct, words }) {
  const [at, setAt] = useState(null);
  const line = useMemo(() => fit(points), [points]);
  const data = useMemo(
    () => [
      points.map(({ rank }) => rank),
      points.map(({ count }) => count),
      points.map(({ rank }) => (line ? Math.max(line.at(rank), 0.5) : null)),
    ],
    [points, line],
  );
  const options = useMemo(
    () => (palette) => ({
      padding: [10, 16, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7, width: 2 } },
      scales: {
        x: { time: false, distr: 3, log: 10, range: (_, least, most) => [1, Math.max(most ?? 10, 10)] },
        y: { distr: 3, log: 10, range: (_, least, most) => [0.8, Math.max(most ?? 10, 10) * 1.5] },
      },
      axes: [
        axis(palette, { values: decades, size: 44, label: 'Rank', labelSize: 18, labelFont: '12px system-ui, sans-serif' }),
        axis(palette, { values: decades, size: 52, label: 'Count', labelSize: 18, labelFont: '12px system-ui, sans-serif' }),
      ],
      series: [
        {},
        { stroke: palette.accent, width: 2, points: { show: true, size: 4, fill: palette.accent } },
        { stroke: palette.muted, width: 1.25, dash: [5, 4], points: { show: false } },
      ],
      hooks: { setCursor: [(plot) => setAt(plot.cursor.idx ?? null)] },
    }),
    [],
  );
  const here = at === null ? points[0] : points[at];
  const step = Math.max(1, Math.ceil(points.length / TABLE_ROWS));
  return html`
    <div class="panel-head">
      <p class="muted">${integer(words)} words, ${integer(distinct)} distinct${line ? `; slope ${decimal(line.slope)}, least squares over the points shown` : ''}</p>
      ${here && html`<p class="legend-note">Rank <strong class="number">${integer(here.rank)}</strong> <bdi>${shown(here.word)}</bdi> <strong class="number">${integer(here.count)}</strong></p>`}
    </div>
    <${Plot} options=${options} data=${data} height=${HEIGHT}
      label=${`Rank against count, both axes logarithmic. ${integer(distinct)} distinct words; the first occurs ${integer(points[0].count)} times.${line ? ` The slope is ${decimal(line.slope)}.` : ''}`} />
    <details class="figures">
      <summary>The same figures as a table</summary>
      <${Table} label="Rank and count" head=${html`<th scope="col" class="number">Rank</th><th scope="col">Word</th><th scope="col" class="number">Count</th>`}>
        ${points
          .filter((_, i) => i % step === 0)
          .map(
            ({ rank, word, count }) => html`<tr key=${rank}><td class="number muted">${integer(rank)}</td>
              <th scope="row"><${WordLink} word=${word} /></th><td class="number">${integer(count)}</td></tr>`,
          )}
      <//>
    </details>
  `;
}
