// What the browser tests stand on: a real `wordfreq up` with a data directory of its own, and a real Chromium that sees
// nothing but it. `make browser` says by environment where the program and the installed modules are. Not here: tests.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const ROOT = resolve(import.meta.dirname, '../../../..');
const BINARY = named('WORDFREQ_BINARY', 'the program to test, such as target/debug/wordfreq');
const require = createRequire(join(named('WORDFREQ_BROWSER_MODULES', 'where package.json is installed'), 'package.json'));
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

const { chromium } = require('playwright-core');
const { AxeBuilder } = require('@axe-core/playwright');

export const LIBRARY = join(ROOT, 'testdata/library');
export const DESKTOP = { width: 1280, height: 860 };
export const PHONE = { width: 360, height: 760 };

/** No wait is longer, whatever else the machine does meanwhile: what never comes must fail. */
const PATIENCE_MS = 60_000;

function named(variable, what) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set (${what}): run these tests with \`make browser\``);
  return resolve(ROOT, value);
}

/** Runs the program to its end; answers what it printed. */
export async function wordfreq(args, directory) {
  const options = { env: environment(directory), timeout: PATIENCE_MS };
  const { stdout } = await promisify(execFile)(BINARY, [...args, '--data-dir', directory], options);
  return stdout;
}

/** Nothing of whoever runs the tests, or their own settings would be tested. */
function environment(directory) {
  return { PATH: process.env.PATH, HOME: dirname(directory) };
}

const ends = new WeakMap();

/**
 * Does `end` after the test, what came last first; the runner's own order is the other one. All are done, whichever of them
 * fail: a program that nobody stops would keep the tests' own process from its end.
 */
function afterwards(t, end) {
  if (!ends.has(t)) {
    ends.set(t, []);
    t.after(async () => {
      const failures = [];
      for (const each of ends.get(t).reverse()) {
        try {
          await each();
        } catch (failure) {
          failures.push(failure);
        }
      }
      if (failures.length === 1) throw failures[0];
      if (failures.length > 1) throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'));
    });
  }
  ends.get(t).push(end);
}

/** A data directory that is not there yet, in a folder of its own; both go with the test. */
export async function dataDirectory(t) {
  const folder = await mkdtemp(join(tmpdir(), 'wordfreq-browser-'));
  afterwards(t, () => rm(folder, { recursive: true, force: true }));
  return join(folder, 'data');
}

/** A place for a file that is not part of the data directory, and goes with it. */
export const beside = (directory, name) => join(dirname(directory), name);

/** Starts `wordfreq up`: `{url, stop}`. It drains when its standard input ends, so it never outlives the tests. */
export async function up(t, directory, args = [], listen = '127.0.0.1:0') {
  const child = spawn(BINARY, ['up', '--supervised', '--data-dir', directory, '--listen', listen, ...args], {
    cwd: dirname(directory),
    env: environment(directory),
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  const ended = new Promise((done) => child.once('exit', (code, signal) => done({ code, signal })));
  const log = [];
  const url = await new Promise((ready, failed) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      const event = line.startsWith('{') ? JSON.parse(line) : {};
      if (event.message === 'ready') ready(event.server);
    });
    ended.then(({ code }) => failed(new Error(`wordfreq up ended with ${code}:\n${log.join('\n')}`)));
  });
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    child.stdin.end();
    const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    const end = await ended;
    clearTimeout(late);
    assert.deepEqual(end, { code: 0, signal: null }, `wordfreq up did not end in order:\n${log.slice(-20).join('\n')}`);
  };
  afterwards(t, stop);
  return { url, stop };
}

let running = null;

/** The browser, started when it is first asked for. */
function browser() {
  if (!existsSync(CHROMIUM)) {
    throw new Error(`there is no ${CHROMIUM}: apt-get install chromium, or name another with CHROMIUM=`);
  }
  running ??= chromium.launch({
    executablePath: CHROMIUM,
    // The runner ends a file that takes too long by SIGTERM, which shall end it: the browser and the program go with it.
    handleSIGTERM: false,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
  return running;
}

/** Ends the browser; once, after all tests of a file. */
export async function closeBrowser() {
  await (await running)?.close();
}

/**
 * A page on `url` at one of its views, with nothing kept from another. Whatever the page complains of, and every request to
 * another host, fails the test at its end, unless `expected` matches it.
 */
export async function open(t, url, view = '', { theme = 'light', size = DESKTOP, expected = null } = {}) {
  const context = await (await browser()).newContext({ viewport: size, colorScheme: theme, acceptDownloads: true });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const wrong = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) wrong.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => wrong.push(`not caught: ${error.stack}`));
  context.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== new URL(url).origin && !['data:', 'blob:'].includes(protocol)) wrong.push(`a request to ${request.url()}`);
  });
  afterwards(t, async () => {
    await context.close();
    assert.deepEqual(wrong.filter((one) => !expected?.test(one)), []);
  });
  await page.goto(`${url}/${view}`);
  await page.locator('h1').waitFor();
  return page;
}

/** Drops files or folders on the page, as a hand would. */
export async function drop(page, paths) {
  const devtools = await page.context().newCDPSession(page);
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop']) {
    await devtools.send('Input.dispatchDragEvent', { type, x: 300, y: 200, data });
  }
  await devtools.detach();
}

/** Waits until `check` holds, which it is asked again and again; it throws while it does not. */
export async function eventually(check) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** What axe-core finds wrong with the page, by WCAG 2.1 AA and its own best practices, in words. */
export async function accessibility(page) {
  const { violations } = await new AxeBuilder({ page })
    .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'])
    .analyze();
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).slice(0, 3).join(' | ')}`);
}
