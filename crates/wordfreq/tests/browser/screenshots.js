// Takes docs/screenshots: every view of a system at work, light and dark, on a desktop and on a phone. Run it with
// `make screenshots`, and look at what comes out before it is committed.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

import { burst, eachView, seeded } from './seed.js';
import { DESKTOP, PHONE, closeBrowser, eventually, open, wordfreq } from './system.js';

const FOLDER = resolve(import.meta.dirname, '../../../../docs/screenshots');
const MOST_BYTES = 200_000;
/** The fleet grows by one every ten seconds: this many documents of a fifth of a second let it reach its largest size. */
const LETTERS = 700;
const run = promisify(execFile);

let end = () => {};
const scope = { after: (all) => (end = all) };

async function main() {
  await run('pngquant', ['--version']).catch(() => {
    throw new Error('pngquant is missing, which makes pictures small: apt-get install pngquant');
  });
  await mkdir(FOLDER, { recursive: true });
  const { url, directory } = await seeded(scope, ['--work', '200ms']);
  const watcher = await open(scope, url, '#/overview?minutes=5');
  await burst(directory, 'letters', LETTERS);
  const fleet = async () => (await fetch(`${url}/api/v1/fleet`)).json();
  await eventually(async () => assert.equal((await fleet()).in_service, 4));
  await watcher.close();
  for (const theme of ['light', 'dark']) {
    for (const [device, size] of Object.entries({ desktop: DESKTOP, phone: PHONE })) await shoot(url, theme, device, size);
  }
  await wordfreq(['token', 'create', '--name', 'screenshot', '--scope', 'admin'], directory);
  for (const theme of ['light', 'dark']) {
    for (const [device, size] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
      await picture(await open(scope, url, '', { theme, size, expected: /status of 401/ }), `sign-in-${theme}-${device}`);
    }
  }
}

async function shoot(url, theme, device, size) {
  const page = await open(scope, url, '#/overview?minutes=5', { theme, size });
  await page.getByText('Live', { exact: true }).waitFor();
  await eachView(page, url, async (name) => {
    if (name === 'dead-letters') {
      await page.getByRole('button', { name: 'Show the beginning' }).click();
      await page.getByLabel('The beginning of the document').waitFor();
    }
    await picture(page, `${name}-${theme}-${device}`);
  });
}

async function picture(page, name) {
  const path = join(FOLDER, `${name}.png`);
  await page.screenshot({ path, animations: 'disabled' });
  await run('pngquant', ['--force', '--strip', '--speed', '1', '--output', path, '256', path]);
  const { size } = await stat(path);
  assert.ok(size < MOST_BYTES, `${name}.png has ${size} bytes, more than ${MOST_BYTES}`);
}

try {
  await main();
} finally {
  await end();
  await closeBrowser();
}
