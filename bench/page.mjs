// Keeps the page of an `up` open in a headless Chromium until standard input ends, and tells as JSON how live it was: how
// often something changed in it, the longest time nothing did, the longest that it was too busy to react, and its memory.
//
//   node bench/page.mjs URL MODULES     MODULES: where `make browser` installed the driver, target/browser

import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [url, modules] = process.argv.slice(2);
const { chromium } = createRequire(join(resolve(modules), 'package.json'))('playwright-core');
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
const page = await browser.newPage();
const errors = [];
page.on('pageerror', (error) => errors.push(error.message));
page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
await page.goto(url);
await page.getByText('Live', { exact: true }).waitFor();
await page.evaluate(() => {
  const seen = { changes: 0, longest_still_ms: 0, longest_busy_ms: 0 };
  let last = performance.now();
  new MutationObserver(() => {
    const now = performance.now();
    seen.changes += 1;
    seen.longest_still_ms = Math.max(seen.longest_still_ms, now - last);
    last = now;
  }).observe(document.getElementById('main'), { subtree: true, childList: true, characterData: true });
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) seen.longest_busy_ms = Math.max(seen.longest_busy_ms, task.duration);
  }).observe({ type: 'longtask' });
  window.benchSeen = seen;
});
const session = await page.context().newCDPSession(page);
const heap = async () => {
  await session.send('HeapProfiler.collectGarbage');
  return Math.round((await session.send('Runtime.getHeapUsage')).usedSize / 1024);
};
const heap_kib_before = await heap();
console.log('open');
process.stdin.resume();
await new Promise((ended) => process.stdin.once('end', ended));
const seen = await page.evaluate(() => window.benchSeen);
const live = await page.getByText('Live', { exact: true }).isVisible();
console.log(JSON.stringify({ ...seen, live, heap_kib_before, heap_kib_after: await heap(), errors }));
await browser.close();
