// A value that many parts of the page look at, and that tells them when it changes.

import { useEffect, useState } from './html.js';

export class Cell {
  #value;
  #listeners = new Set();

  constructor(value) {
    this.#value = value;
  }

  get value() {
    return this.#value;
  }

  set value(value) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener(value);
  }

  /** Calls `listener` with each new value; answers the function that ends this. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** The value of a cell; whoever calls this is drawn again when it changes. */
export function useCell(cell) {
  const [value, setValue] = useState(cell.value);
  useEffect(() => {
    setValue(() => cell.value);
    return cell.subscribe((next) => setValue(() => next));
  }, [cell]);
  return value;
}
