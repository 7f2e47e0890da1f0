// Backlog, workers, throughput and age under each other on one axis of time, with the alarms' states and thresholds and
// with launches and terminations as marks. All panels share one cursor. Not here: where the figures come from
// (pages/overview.js), and how they become columns (samples.js).

import { Cell, useCell } from '../cell.js';
import { decimal, duration, integer, time } from '../format.js';
import { html, useMemo, useState } from '../html.js';
import { Foreign, Table } from '../parts/basics.js';
import { FONT, Plot, axis } from './plot.js';
import { states } from './samples.js';

/** The plots' margins in pixels, which the alarms' lanes (style.css) keep too. */
const LEFT = 52;
const RIGHT = 12;
const TABLE_ROWS = 30;

const PANELS = [
  {
    id: 'backlog',
    title: 'Backlog',
    unit: 'messages',
    height: 168,
    least: 10,
    format: integer,
    series: [
      { key: 'waiting', label: 'Waiting', colour: 'series-waiting', fill: true },
      { key: 'inFlight', label: 'In flight', colour: 'series-flight' },
    ],
  },
  {
    id: 'workers',
    title: 'Workers',
    unit: 'instances',
    height: 112,
    least: 2,
    format: integer,
    series: [
      { key: 'inService', label: 'In service', colour: 'series-service', fill: true, stepped: true },
      { key: 'desired', label: 'Desired', colour: 'series-desired', dash: [5, 4], stepped: true },
    ],
  },
  {
    id: 'throughput',
    title: 'Throughput',
    unit: 'messages/s',
    height: 112,
    least: 1,
    format: decimal,
    series: [
      { key: 'done', label: 'Finished', colour: 'series-done', fill: true },
      { key: 'arrived', label: 'Arrived', colour: 'series-arrived', dash: [2, 3] },
    ],
  },
  {
    id: 'age',
    title: 'Age of the oldest message',
    unit: 's',
    height: 112,
    least: 10,
    format: duration,
    series: [{ key: 'age', label: 'Oldest', colour: 'series-age', fill: true }],
  },
];

/** The panel an alarm's threshold belongs to, and what it is there at a number of workers. */
const THRESHOLDS = {
  ApproximateNumberOfMessagesVisible: { panel: 'backlog', at: (threshold) => threshold },
  BacklogPerInstance: { panel: 'backlog', at: (threshold, workers) => threshold * Math.max(1, workers ?? 1) },
  ApproximateNumberOfMessagesNotVisible: { panel: 'backlog', at: (threshold) => threshold },
  ApproximateAgeOfOldestMessage: { panel: 'age', at: (threshold) => threshold },
  GroupInServiceInstances: { panel: 'workers', at: (threshold) => threshold },
};

const minutes = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const seconds = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** What a colour with this much of it is; the browser resolves our colours to `rgb(r, g, b)`. */
const thin = (colour, share) => colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${share})`);

export const launches = (activity) => activity.description.startsWith('Launching');

function optionsOf(panel, last, thresholds, marks, hover) {
  return (palette) => ({
    padding: [10, RIGHT, last ? 0 : 4, 0],
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: false, y: false },
      sync: { key: 'wordfreq-timeline' },
      points: { size: 6, width: 1.5 },
    },
    scales: {
      x: { time: true, range: (_, from, to) => [from, to] },
      y: {
        range: (_, __, most) => {
          const seen = Math.max(most ?? 0, panel.least);
          // A threshold far above everything would press the curve to the ground; it is told in words below anyway.
          const lines = thresholds.flatMap(({ line }) => line).filter((value) => value !== null && value <= seen * 8);
          return [0, Math.max(seen, ...lines) * 1.08];
        },
      },
    },
    axes: [
      axis(palette, {
        size: last ? 26 : 0,
        space: 74,
        values: (_, splits) => {
          if (!last) return splits.map(() => '');
          const clock = splits.length > 1 && splits[1] - splits[0] < 60 ? seconds : minutes;
          return splits.map((split) => clock.format(new Date(split * 1000)));
        },
      }),
      axis(palette, {
        size: LEFT,
        space: 34,
        gap: 6,
        incrs: panel.format === integer ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7] : undefined,
        values: (_, splits) => splits.map((split) => panel.format(split)),
      }),
    ],
    series: [
      {},
      ...panel.series.map(({ label, colour, fill, dash, stepped }) => ({
        label,
        stroke: palette[colour],
        width: 1.75,
        dash,
        fill: fill ? thin(palette[colour], 0.14) : undefined,
        points: { show: false },
        paths: stepped ? steps : undefined,
      })),
    ],
    hooks: {
      setCursor: [(plot) => (hover.value = plot.cursor.idx ?? null)],
      draw: [
        (plot) => thresholds.forEach((threshold) => drawThreshold(plot, threshold, palette)),
        (plot) => drawMarks(plot, marks(), palette),
      ],
    },
  });
}

/** Sizes change at once and stay: a slope between two of them would show what never was. */
function steps(plot, seriesIndex, from, to) {
  const xs = plot.data[0];
  const ys = plot.data[seriesIndex];
  const stroke = new Path2D();
  const fill = new Path2D();
  const ground = plot.valToPos(0, 'y', true);
  let before = null;
  for (let i = from; i <= to; i += 1) {
    if (ys[i] === null) {
      if (before !== null) fill.lineTo(plot.valToPos(xs[i - 1], 'x', true), ground);
      before = null;
      continue;
    }
    const x = plot.valToPos(xs[i], 'x', true);
    const y = plot.valToPos(ys[i], 'y', true);
    if (before === null) {
      stroke.moveTo(x, y);
      fill.moveTo(x, ground);
      fill.lineTo(x, y);
    } else {
      for (const path of [stroke, fill]) {
        path.lineTo(x, before);
        path.lineTo(x, y);
      }
    }
    before = y;
  }
  if (before !== null) fill.lineTo(plot.valToPos(xs[to], 'x', true), ground);
  return { stroke, fill, clip: null, band: null, gaps: null, flags: 3 };
}

function drawThreshold(plot, { line, upper, name }, palette) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  const xs = plot.data[0];
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = upper ? palette.bad : palette.muted;
  ctx.lineWidth = ratio;
  ctx.setLineDash([6 * ratio, 4 * ratio]);
  ctx.beginPath();
  let begun = false;
  let label = null;
  line.forEach((value, i) => {
    if (value === null) {
      begun = false;
      return;
    }
    const x = plot.valToPos(xs[i], 'x', true);
    const y = plot.valToPos(value, 'y', true);
    if (begun) ctx.lineTo(x, y);
    else ctx.moveTo(x, y);
    label ??= y;
    begun = true;
  });
  ctx.stroke();
  if (label !== null && label > bbox.top) {
    ctx.font = FONT.replace('12px', `${11 * ratio}px`);
    ctx.fillStyle = upper ? palette.bad : palette.muted;
    ctx.textBaseline = 'bottom';
    // The two of a pair are often close together: each has its own side.
    ctx.textAlign = upper ? 'left' : 'right';
    ctx.fillText(name, upper ? bbox.left + 6 * ratio : bbox.left + bbox.width - 6 * ratio, label - 2 * ratio);
  }
  ctx.restore();
}

/** A launch points up, a termination down. */
function drawMarks(plot, marks, palette) {
  const { ctx, bbox } = plot;
  const size = 4.5 * devicePixelRatio;
  const y = bbox.top + size;
  ctx.save();
  for (const { at, up } of marks) {
    const x = plot.valToPos(at / 1000, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const tip = up ? -size : size;
    ctx.fillStyle = up ? palette.good : palette.warn;
    ctx.beginPath();
    ctx.moveTo(x - size, y - tip);
    ctx.lineTo(x + size, y - tip);
    ctx.lineTo(x, y + tip);
    ctx.closePath();
    ctx.fill();
  }
  ctx.restore();
}

function Panel({ panel, last, columns, alarms, activities, hover, spanLabel }) {
  const at = useCell(hover);
  const data = useMemo(() => [columns.x, ...panel.series.map(({ key }) => columns[key])], [columns, panel]);
  const thresholds = alarms
    .filter(({ metric }) => THRESHOLDS[metric]?.panel === panel.id)
    .map((alarm) => ({
      name: alarm.name,
      upper: alarm.is_upper,
      line: columns.inService.map((workers) => THRESHOLDS[alarm.metric].at(alarm.threshold, workers)),
    }));
  const marks = panel.id === 'workers' ? activities : [];
  // The chart is made once; what it draws beside its data is looked up when it draws.
  const drawn = useMemo(() => ({ thresholds: [], marks: [] }), []);
  drawn.thresholds.splice(0, Infinity, ...thresholds);
  drawn.marks = marks;
  const options = useMemo(() => optionsOf(panel, last, drawn.thresholds, () => drawn.marks, hover), [panel, last]);

  const index = at ?? columns.x.length - 1;
  const now = (key) => columns[key].at(-1);
  const most = (key) => columns[key].reduce((greatest, value) => Math.max(greatest, value ?? 0), 0);
  const label = `${panel.title}, ${spanLabel}. ${panel.series
    .map(({ key, label: name }) => `${name}: ${panel.format(now(key))} now, at most ${panel.format(most(key))}`)
    .join('; ')}. ${panel.unit === 's' ? '' : `In ${panel.unit}.`}`;
  const near = at === null ? null : nearest(marks, columns.x[at] * 1000, columns);
  return html`
    <div class="panel">
      <div class="panel-head">
        <h3>${panel.title} ${panel.unit !== 's' && html`<span class="unit">${panel.unit}</span>`}</h3>
        <ul class="legend">
          ${near && html`<li class="legend-note">${launches(near) ? 'Launch' : 'Termination'} of ${near.instance}</li>`}
          ${panel.series.map(
            ({ key, label: name, colour, dash }) => html`
              <li key=${key}><span class=${`swatch ${colour}${dash ? ' dashed' : ''}`}></span>${name}
                <strong class="number">${panel.format(columns[key][index])}</strong></li>
            `,
          )}
        </ul>
      </div>
      <${Plot} options=${options} data=${data} height=${panel.height + (last ? 26 : 0)} label=${label} />
    </div>
  `;
}

/** The activity at a moment, if one is within two columns of it. */
function nearest(marks, moment, { x }) {
  const reach = (x[1] - x[0]) * 2000;
  return marks.find(({ at }) => Math.abs(at - moment) <= reach)?.activity ?? null;
}

/** The states of each alarm over the time of the plots. */
function Lanes({ alarms, history, from, to }) {
  const share = (moment) => ((moment - from) / (to - from)) * 100;
  return html`
    <div class="panel">
      <div class="panel-head">
        <h3>Alarms</h3>
        <ul class="legend">
          <li><span class="swatch block band-alarm"></span>ALARM</li>
          <li><span class="swatch block band-ok"></span>OK</li>
          <li><span class="swatch block band-unknown"></span>INSUFFICIENT DATA</li>
        </ul>
      </div>
      <ul class="lanes">
        ${alarms.map(
          (alarm) => html`
            <li key=${alarm.name}>
              <span class="lane-name"><${Foreign}>${alarm.name}<//> <span class="lane-state">${alarm.state.replaceAll('_', ' ')}</span>
                <span class="muted">now ${decimal(alarm.value)}, threshold ${decimal(alarm.threshold)}</span></span>
              <svg class="lane" aria-hidden="true">
                ${states(alarm, history, from, to).map(
                  (band, i) => html`<rect key=${i} class=${`lane-${band.state.toLowerCase().replaceAll('_', '-')}`} x=${`${share(band.from)}%`}
                    width=${`${Math.max(0, share(band.to) - share(band.from))}%`} height="100%"><title>${`${band.state} from ${time(band.from)}`}</title></rect>`,
                )}
              </svg>
            </li>
          `,
        )}
      </ul>
    </div>
  `;
}

/** The figures of the plots for those who do not see them, or want to read them off. */
function FiguresTable({ columns }) {
  const [open, setOpen] = useState(false);
  const step = Math.max(1, Math.floor(columns.x.length / TABLE_ROWS));
  const rows = open ? columns.x.map((_, i) => columns.x.length - 1 - i).filter((_, i) => i % step === 0) : [];
  return html`
    <details class="figures" onToggle=${(event) => setOpen(event.target.open)}>
      <summary>The same figures as a table</summary>
      ${open &&
      html`<${Table} label="Queue and fleet over time" head=${html`
          <th scope="col">Time</th><th scope="col" class="number">Waiting</th><th scope="col" class="number">In flight</th>
          <th scope="col" class="number">In service</th><th scope="col" class="number">Desired</th>
          <th scope="col" class="number">Arrived /s</th><th scope="col" class="number">Finished /s</th><th scope="col" class="number">Oldest</th>`}>
          ${rows.map(
            (i) => html`<tr key=${columns.x[i]}>
              <th scope="row">${time(columns.x[i] * 1000)}</th>
              <td class="number">${integer(columns.waiting[i])}</td><td class="number">${integer(columns.inFlight[i])}</td>
              <td class="number">${integer(columns.inService[i])}</td><td class="number">${integer(columns.desired[i])}</td>
              <td class="number">${decimal(columns.arrived[i])}</td><td class="number">${decimal(columns.done[i])}</td>
              <td class="number">${duration(columns.age[i])}</td>
            </tr>`,
          )}
        <//>`}
    </details>
  `;
}

/**
 * All of it. `columns` as samples.js makes them between the moments `from` and `to`; `alarms`, `history` and
 * `activities` as the API gives them.
 */
export function Timeline({ columns, from, to, spanLabel, alarms, history, activities }) {
  const hover = useMemo(() => new Cell(null), []);
  const marks = activities
    .map((activity) => ({ activity, at: Date.parse(activity.started_at), up: launches(activity) }))
    .filter(({ at }) => at >= from && at <= to);
  return html`
    <div class="timeline">
      ${PANELS.map(
        (panel, i) => html`<${Panel} key=${panel.id} panel=${panel} last=${i === PANELS.length - 1} columns=${columns}
          alarms=${alarms} activities=${marks} hover=${hover} spanLabel=${spanLabel} />`,
      )}
      ${alarms.length > 0 && html`<${Lanes} alarms=${alarms} history=${history} from=${from} to=${to} />`}
      <${FiguresTable} columns=${columns} />
    </div>
  `;
}
