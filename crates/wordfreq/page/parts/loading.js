// Getting data from the API into a view: one answer (`useLoaded`), a list by cursor (`useList`), and asking again when
// the server says that something changed (`useRefresh`). Not here: requests (api.js), how it looks (basics.js).

import { get } from '../api.js';
import { useCell } from '../cell.js';
import { useCallback, useEffect, useRef, useState } from '../html.js';
import { generation, on } from '../live.js';

/** So many rows are shown at once; "more" then goes on instead of adding to them. */
const MOST_ROWS = 1000;
const REFRESH_MS = 1500;
/** What took long to answer rests for so many times as long before it is asked for again. */
const REST = 4;

/**
 * What `load(signal)` answers: `{data, problem, loading, reload}`. Asked again when one of `deps` changes, after a lost
 * connection, and by `reload`. What is known stays until there is something newer.
 */
export function useLoaded(load, deps) {
  const [state, setState] = useState({ data: null, problem: null, loading: true });
  const [round, setRound] = useState(0);
  const connected = useCell(generation);
  const running = useRef({ busy: false, again: false, took: 0, ended: 0, timer: null });

  useEffect(() => {
    const abort = new AbortController();
    const run = running.current;
    clearTimeout(run.timer);
    run.busy = true;
    run.again = false;
    const began = performance.now();
    setState((before) => ({ ...before, loading: true }));
    load(abort.signal)
      .then(
        (data) => ({ data, problem: null, loading: false }),
        (problem) => (before) => ({ ...before, problem, loading: false }),
      )
      .then((next) => {
        if (abort.signal.aborted) return;
        Object.assign(run, { busy: false, ended: performance.now(), took: performance.now() - began });
        setState(next);
        if (run.again) reload();
      });
    return () => {
      abort.abort();
      clearTimeout(run.timer);
    };
  }, [...deps, round, connected]);

  // A request under way is not thrown away for a newer one: on a busy server that would never show anything.
  const reload = useCallback(() => {
    const run = running.current;
    if (run.busy) {
      run.again = true;
      return;
    }
    clearTimeout(run.timer);
    run.timer = setTimeout(() => setRound((n) => n + 1), Math.max(0, run.ended + run.took * REST - performance.now()));
  }, []);
  return { ...state, reload };
}

const stay = () => {};

/** A search through much may find nothing for a while: so many pages without an item are passed over unasked. */
const EMPTY_PAGES = 20;

/** The next page that has anything on it. */
async function pageAfter(path, query, cursor, signal) {
  let page = await get(path, { ...query, cursor }, signal);
  for (let i = 1; i < EMPTY_PAGES && page.items.length === 0 && page.next_cursor; i += 1) {
    page = await get(path, { ...query, cursor: page.next_cursor }, signal);
  }
  return page;
}

/** One answer of the API by path and query. */
export function useAnswer(path, query) {
  return useLoaded((signal) => get(path, query, signal), [path, JSON.stringify(query ?? null)]);
}

/**
 * A list of the API, page after page. `first` is the place of the first row shown, `answer` the first page with all that
 * stands beside its items; once more than one page is shown, `frozen` says that `reload` leaves them as they are.
 */
export function useList(path, query, limit = 100) {
  const asked = JSON.stringify([path, query, limit]);
  const nothing = { asked, pages: 0, items: [], next: null, first: 0, problem: null, loading: false };
  const [later, setLater] = useState(nothing);
  const head = useLoaded((signal) => pageAfter(path, { ...query, limit }, null, signal), [asked]);
  // Pages after the first belong to one question; to another one they say nothing.
  const tail = later.asked === asked ? later : nothing;

  const items = tail.first > 0 ? tail.items : [...(head.data?.items ?? []), ...tail.items];
  const next = tail.pages > 0 ? tail.next : (head.data?.next_cursor ?? null);

  // Pages that follow one another by cursor would not fit together if only the first were asked for again.
  const frozen = tail.pages > 0;

  const more = async () => {
    setLater({ ...tail, loading: true, problem: null });
    try {
      const page = await pageAfter(path, { ...query, limit }, next);
      const full = items.length + page.items.length > MOST_ROWS;
      setLater({
        asked,
        pages: tail.pages + 1,
        items: full ? page.items : [...tail.items, ...page.items],
        next: page.next_cursor,
        first: full ? tail.first + items.length : tail.first,
        problem: null,
        loading: false,
      });
    } catch (problem) {
      setLater({ ...tail, problem, loading: false });
    }
  };
  const restart = () => {
    setLater(nothing);
    head.reload();
  };
  return {
    items,
    answer: head.data,
    first: tail.first,
    problem: tail.problem ?? head.problem,
    loading: head.loading && !head.data,
    loadingMore: tail.loading,
    next,
    more,
    restart,
    frozen,
    reload: frozen ? stay : head.reload,
  };
}

/**
 * Calls `reload` after events of these kinds, at most once in a while, and at the end of a burst of them. Only those count
 * that `matters(event)`.
 */
export function useRefresh(kinds, reload, least = REFRESH_MS, matters = () => true) {
  const asked = useRef(matters);
  asked.current = matters;
  useEffect(() => {
    let timer = null;
    let stale = false;
    const tick = () => {
      timer = null;
      if (!stale) return;
      stale = false;
      reload();
      timer = setTimeout(tick, least);
    };
    const heard = (event) => {
      if (!asked.current(event)) return;
      stale = true;
      if (timer === null) tick();
    };
    const ends = kinds.map((kind) => on(kind, heard));
    return () => {
      clearTimeout(timer);
      for (const end of ends) end();
    };
  }, [kinds.join(), reload, least]);
}
