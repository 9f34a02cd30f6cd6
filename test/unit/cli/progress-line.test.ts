import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProgressLine, progressText } from '../../../src/cli/progress-line.ts';

const MB = 1024 ** 2;

describe('progress', () => {
  it('is a bar, bytes, speed and the time that is left', () => {
    assert.equal(
      progressText(64 * MB, 128 * MB, 64 * MB, 2000),
      `[${'='.repeat(12)}${'-'.repeat(12)}]  50 %  64 of 128 MB, 32 MB/s, 2 s left`,
    );
    assert.match(progressText(64 * MB, 100 * 1024 * MB, 64 * MB, 2000), /, 53 min left$/);
  });

  it('guesses nothing from the first moment, and divides nothing by zero', () => {
    assert.equal(progressText(MB, 128 * MB, MB, 10), `[${'-'.repeat(24)}]   0 %  1.0 of 128 MB`);
    assert.match(progressText(0, 0, 0, 5000), /100 %/);
  });

  it('is a line for each stage where nobody watches', () => {
    const said: string[] = [];
    const line = new ProgressLine({ write: (text) => said.push(text), isTTY: false });
    line.show({ stage: 'copying', doneBytes: null, totalBytes: null });
    line.show({ stage: 'copying', doneBytes: 1, totalBytes: 2 });
    line.show({ stage: 'copying', doneBytes: 2, totalBytes: 2 });
    line.show({ stage: 'starting', doneBytes: null, totalBytes: null });
    line.end();
    assert.deepEqual(said, ['copying\n', 'starting\n']);
  });
});
