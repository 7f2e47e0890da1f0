// A system that has something to show on every page: the documents of testdata/library in many scripts, one that cannot be
// counted, a bucket's worth of letters, and a fleet that scales within seconds.

import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { LIBRARY, beside, dataDirectory, up, wordfreq } from './system.js';

/** A plan that looks every ten seconds, the most often that an alarm may, and acts again a minute later. */
export const QUICK_PLAN = `
min = 1
max = 4

[[alarm]]
name = "backlog-high"
metric = "ApproximateNumberOfMessagesVisible"
comparison_operator = "GreaterThanThreshold"
threshold = 20
period = "10s"

[[alarm]]
name = "backlog-low"
metric = "ApproximateNumberOfMessagesVisible"
comparison_operator = "LessThanThreshold"
threshold = 5
period = "10s"

[[step_scaling]]
name = "add"
alarm = "backlog-high"
steps = [{ lower = 0, upper = 50, adjustment = 1 }, { lower = 50, adjustment = 2 }]
warmup = "1s"

[[simple_scaling]]
name = "remove-one"
alarm = "backlog-low"
adjustment_type = "ChangeInCapacity"
adjustment = -2
cooldown = "1s"
`;

/** Puts `number` small documents, numbered from 1, below `name/`. */
export async function burst(directory, name, number) {
  const folder = beside(directory, name);
  await mkdir(folder);
  const text = (i) => `Letter ${i} of the ferry to the tide clerk: the boat leaves at ${i % 24} o'clock.\n`;
  await Promise.all(
    Array.from({ length: number }, (_, i) => writeFile(join(folder, `${String(i + 1).padStart(4, '0')}.txt`), text(i + 1))),
  );
  await wordfreq(['upload', folder, '--bucket', 'processing', '--prefix', `${name}/`], directory);
}

/**
 * Puts `scans/ward-round.txt` into an empty data directory, whose bytes then change on the disk: no retry helps, so that it
 * becomes a dead letter. Answers the function that mends it.
 */
export async function damagedScan(directory) {
  const file = beside(directory, 'ward-round.txt');
  const text = 'Ward round, Tuesday. The patient slept well and asks for tea.\n';
  await writeFile(file, text);
  await wordfreq(['upload', file, '--bucket', 'processing', '--prefix', 'scans/'], directory);
  const stored = await readdir(join(directory, 'objects'), { recursive: true, withFileTypes: true });
  const objects = stored.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  assert.equal(objects.length, 1);
  // Stored objects are read-only.
  const overwrite = async (bytes) => {
    await chmod(objects[0], 0o600);
    await writeFile(objects[0], bytes);
  };
  await overwrite(text.replaceAll('t', '\u0007'));
  return () => overwrite(text);
}

/** A running system with all of that: `{url, directory}`. */
export async function seeded(t, args = []) {
  const directory = await dataDirectory(t);
  await damagedScan(directory);
  await wordfreq(['upload', LIBRARY, '--bucket', 'processing'], directory);
  const plan = beside(directory, 'quick.toml');
  await writeFile(plan, QUICK_PLAN);
  const { url } = await up(t, directory, ['--plan', plan, ...args]);
  return { url, directory };
}

/** Each view by the name of its screenshot: where it is, its heading, and what is there once it has its data. */
const VIEWS = {
  overview: ['#/overview?minutes=5', 'Overview', '.timeline .u-over'],
  documents: ['#/documents', 'Documents', 'tbody tr'],
  document: ['#/document?bucket=processing&key=the-tide-clerk.txt', 'Document', '.bars li'],
  words: ['#/words', 'Words', '.bars li'],
  zipf: ['#/words?view=zipf', 'Words', '.plot .u-over'],
  cloud: ['#/words?view=cloud', 'Words', '.cloud text'],
  word: ['#/words?word=tide', 'Words', '[aria-labelledby="word"] tbody tr'],
  'dead-letters': ['#/dead-letters', 'Dead letters', '.letter'],
  fleet: ['#/fleet', 'Fleet', '[aria-labelledby="activities"] li'],
  subscriptions: ['#/subscriptions', 'Subscriptions', '[aria-labelledby="subscriptions"] .empty'],
};

/** Goes through all views; `look(name, content)` is called in each of them once it is whole. */
export async function eachView(page, url, look) {
  for (const [name, [view, heading, content]] of Object.entries(VIEWS)) {
    await page.goto(`${url}/${view}`);
    const found = page.locator(`main:has(h1:text-is("${heading}")) ${content}`).first();
    await found.waitFor();
    await look(name, found);
  }
}
