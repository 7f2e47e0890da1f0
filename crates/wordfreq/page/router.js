// Where in the page we are, kept in the address behind `#`, so that each view can be linked to and "back" works. Keys
// and words stand in the query of it, as they do in the API.

import { Cell } from './cell.js';

function parse() {
  const [path, search = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  return { path: path || 'overview', query: Object.fromEntries(new URLSearchParams(search)) };
}

/** `{path, query}` of where we are. */
export const place = new Cell(parse());

addEventListener('hashchange', () => {
  place.value = parse();
});

/** The address of a view; what is null, undefined or '' is left out of the query. */
export function href(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const search = new URLSearchParams(given).toString();
  return `#/${path}${search ? `?${search}` : ''}`;
}

/** Goes to a view. */
export function go(path, query) {
  location.hash = href(path, query);
}

/** Changes the query of where we are, without a new step in the history: what is typed letter by letter. */
export function refine(changes) {
  const { path, query } = place.value;
  history.replaceState(null, '', href(path, { ...query, ...changes }));
  place.value = parse();
}
