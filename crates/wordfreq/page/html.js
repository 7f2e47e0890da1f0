// The way everything is drawn: Preact, with templates instead of a build step. What is put into a template becomes a
// text node or an attribute, never markup, so a hostile word or key is only ever text.

import { h, render } from './vendor/preact.js';
import htm from './vendor/htm.js';

export const html = htm.bind(h);
export { render };
export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from './vendor/preact-hooks.js';
