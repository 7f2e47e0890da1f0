// The small pieces that every view is made of. Not here: anything that asks the server.

import { address } from '../api.js';
import { NOTHING, time } from '../format.js';
import { html } from '../html.js';
import { href } from '../router.js';

/** A moment: short, with the whole of it in the tooltip. */
export function Time({ at }) {
  if (!at) return NOTHING;
  return html`<time datetime=${at} title=${at}>${time(at)}</time>`;
}

/** Text from outside, in its own direction, so that it does not turn what stands beside it. */
export function Foreign({ children }) {
  return html`<bdi>${children}</bdi>`;
}

/** A document's name, leading to it. */
export function DocumentLink({ bucket, name, back }) {
  return html`<a class="key" href=${href('document', { bucket, key: name, back })}><bdi>${name}</bdi></a>`;
}

/** A word, leading to what is known of it. */
export function WordLink({ word }) {
  return html`<a class="word" href=${href('words', { word })}><bdi>${shown(word)}</bdi></a>`;
}

/** The empty word exists: profile go-sample counts it. */
export const shown = (word) => (word === '' ? '(empty word)' : word);

/** A state in one word, with its colour; the word says it all. */
export function State({ of }) {
  return html`<span class=${`state state-${of.toLowerCase().replaceAll('_', '-')}`}>${of.replaceAll('_', ' ')}</span>`;
}

/** A part of a view under its heading, with whatever acts on the whole of it at the right. */
export function Section({ title, id, actions, children, wide }) {
  return html`
    <section class=${wide ? 'section wide' : 'section'} aria-labelledby=${id}>
      <div class="section-head"><h2 id=${id}>${title}</h2>${actions && html`<div class="actions">${actions}</div>`}</div>
      ${children}
    </section>
  `;
}

/** What to do where there is nothing yet. */
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;
}

/** What the server refused, in its words. */
export function ProblemNote({ problem, retry }) {
  if (!problem) return null;
  return html`
    <div class="problem" role="alert">
      <p><strong>${problem.title ?? 'Something is wrong with this page'}</strong> <span dir="auto">${problem.message}</span></p>
      ${retry && html`<button onClick=${retry}>Try again</button>`}
    </div>
  `;
}

/** A table that scrolls by itself where it is too wide; reachable by keyboard for that. */
export function Table({ label, head, children, className = '' }) {
  return html`
    <div class="table-frame" role="region" aria-label=${`${label}, table`} tabindex="0">
      <table class=${className}>
        <caption class="visually-hidden">${label}</caption>
        <thead><tr>${head}</tr></thead>
        <tbody>${children}</tbody>
      </table>
    </div>
  `;
}

/** Where a list goes on. `list` is what `useList` answers. */
export function More({ list, what }) {
  if (!list.next && !list.frozen) return null;
  const last = list.first + list.items.length;
  return html`
    <div class="more">
      <span>${last > list.first ? `${what} ${(list.first + 1).toLocaleString('en')} to ${last.toLocaleString('en')}` : 'Nothing found so far'}</span>
      ${list.frozen && html`<button onClick=${list.restart}>Back to the newest</button>`}
      ${list.next &&
      html`<button onClick=${list.more} disabled=${list.loadingMore}>${list.loadingMore ? 'Loading' : 'Load more'}</button>`}
    </div>
  `;
}

/** A link to the same list as a file, whole. */
export function Download({ path, query, name, children }) {
  return html`<a class="button" href=${address(path, query)} download=${name}>${children}</a>`;
}

/** A choice of few, all of them in sight. `options` is `[[value, label], ...]`. */
export function Choice({ label, options, value, onChange }) {
  return html`
    <div class="choice" role="group" aria-label=${label}>
      ${options.map(
        ([one, text]) =>
          html`<button key=${one} aria-pressed=${String(one === value)} onClick=${() => onChange(one)}>${text}</button>`,
      )}
    </div>
  `;
}

/** A figure with its name and what belongs to it. */
export function Figure({ name, value, unit, children, tone }) {
  return html`
    <div class=${tone ? `figure ${tone}` : 'figure'}>
      <dt>${name}</dt>
      <dd><span class="figure-value">${value}</span>${unit && html` <span class="unit">${unit}</span>`}
        ${children && html`<span class="figure-note">${children}</span>`}</dd>
    </div>
  `;
}
