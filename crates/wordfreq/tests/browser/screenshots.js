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
/** Documents that take a fifth of a second each: so many are done within a minute, and so many outlast all pictures. */
const A_FEW = 250;
const MANY = 3000;
const run = promisify(execFile);

let end = () => {};
const scope = { after: (all) => (end = all) };

async function main() {
  await run('pngquant', ['--version']).catch(() => {
    throw new Error('pngquant is missing, which makes pictures small: apt-get install pngquant');
  });
  await mkdir(FOLDER, { recursive: true });
  const { url, directory } = await seeded(scope, ['--work', '200ms']);
  const size = async () => (await (await fetch(`${url}/api/v1/fleet`)).json()).in_service;
  // One burst that is over and one that is not, so that the axis of time has something to tell.
  await burst(directory, 'yesterday', A_FEW);
  await eventually(async () => assert.equal(await size(), 3));
  await eventually(async () => assert.equal(await size(), 1));
  await burst(directory, 'letters', MANY);
  await eventually(async () => assert.equal(await size(), 3));
  await eachLook((look) => shoot(url, look, (name) => name !== 'overview'));
  await eventually(async () => assert.equal(await size(), 4));
  await eachLook((look) => shoot(url, look, (name) => name === 'overview'));
  await wordfreq(['token', 'create', '--name', 'screenshot', '--scope', 'admin'], directory);
  await eachLook(async (look) => picture(await open(scope, url, '', { ...look, expected: /status of 401/ }), 'sign-in', look));
}

async function eachLook(shoot) {
  for (const theme of ['light', 'dark']) {
    for (const [device, size] of Object.entries({ desktop: DESKTOP, phone: PHONE })) await shoot({ theme, device, size });
  }
}

async function shoot(url, look, wanted) {
  const page = await open(scope, url, '#/overview?minutes=5', look);
  await page.getByText('Live', { exact: true }).waitFor();
  await eachView(page, url, async (name, content) => {
    if (!wanted(name)) return;
    if (name === 'dead-letters') {
      await page.getByRole('button', { name: 'Show the beginning' }).click();
      await page.getByLabel('The beginning of the document').waitFor();
    }
    await content.scrollIntoViewIfNeeded();
    await picture(page, name, look);
  });
  await page.close();
}

async function picture(page, view, { theme, device }) {
  const name = `${view}-${theme}-${device}`;
  const path = join(FOLDER, `${name}.png`);
  await page.mouse.move(0, 0);
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
