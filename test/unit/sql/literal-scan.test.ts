import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { analyse } from '../../../src/sql/analyse.ts';
import { Classifier } from '../../../src/sql/classifier.ts';
import { scanComment, scanDollarQuote, scanString } from '../../../src/sql/literal-scan.ts';
import { loadParser, parse } from '../../../src/sql/parse.ts';
import { SAMPLE } from './sample-catalog.ts';

const end = (scan: (text: Buffer, start: number, end: number) => number, text: string): number => {
  const buffer = Buffer.from(text);
  return scan(buffer, 0, buffer.length);
};
const plain = (text: string): number => end((b, s, e) => scanString(b, s, e, false), text);
const escaping = (text: string): number => end((b, s, e) => scanString(b, s, e, true), text);

describe('where literals end', () => {
  it('strings', () => {
    assert.equal(plain("'a' b"), 3);
    assert.equal(plain("'a''b' c"), 6);
    assert.equal(plain("'a'\n 'b' c"), 8);
    assert.equal(plain("'a' 'b'"), 3);
    assert.equal(plain("'a' -- c\n--d\n'b' c"), 16);
    assert.equal(plain("'a"), -1);
    assert.equal(plain("'a\\' b"), -4, 'the end depends on standard_conforming_strings');
    assert.equal(escaping("'a\\'b' c"), 6);
    assert.equal(escaping("'a\\\\' c"), 5);
    assert.equal(escaping("'a'\n'\\'' c"), 8, 'a continuation keeps its escapes');
    assert.equal(escaping("'\\"), -1);
  });

  it('dollar quotes', () => {
    assert.equal(end(scanDollarQuote, '$$a$$ b'), 5);
    assert.equal(end(scanDollarQuote, '$a$ $$ $b$ $a$ c'), 14);
    assert.equal(end(scanDollarQuote, '$a$ $a'), -2);
    assert.equal(end(scanDollarQuote, '$1a$'), 0);
    assert.equal(end(scanDollarQuote, '$'), 0);
  });

  it('comments', () => {
    assert.equal(end(scanComment, '-- a\n b'), 4);
    assert.equal(end(scanComment, '/* /* */ */ b'), 11);
    assert.equal(end(scanComment, '/*/ */'), 6);
    assert.equal(end(scanComment, '/* /* */'), -1);
  });
});

describe("the lexer and PostgreSQL's", () => {
  before(() => loadParser());

  it('agree on random texts: the key leads to the verdict of the text itself', () => {
    const PIECES = [
      ...["'", "''", "' '", "'a'", "E'", "e'\\''", "\\'", '\\', "B'1'", "U&'", "n'", '$$', '$$x$$', '$a$', '$1', '$'],
      ...['"', '"a"', '""', 'U&"', '--', '/*', '*/', '/**/', '\n', '\r', '\t', '\f', ' ', ',', ';', '(', ')', '[', ']'],
      ...[
        '1',
        '1.',
        '.5',
        '1e',
        '1e5',
        '0x1',
        '1_0',
        'a',
        'E',
        'x',
        'in',
        'in (1,2)',
        'values',
        '::int',
        '+',
        '-',
        '<',
      ],
      ...['volatile_fn()', 'select', 'from t', 'delete from t', 'for update', 'é', 'and', 'case', 'as'],
    ];
    let seed = 7;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % n;
    };
    const classifier = new Classifier({ maxEntries: 100 });
    let compared = 0;
    for (let run = 0; run < 40_000; run++) {
      let text = 'select 1, ';
      for (let i = random(9); i >= 0; i--) text += PIECES[random(PIECES.length)];
      const parsed = parse(text);
      if (parsed.kind === 'failed') continue;
      compared++;
      const own = classifier.classifyText(text, SAMPLE);
      if (own.class === 'unknown') continue; // never unsafe
      const theirs = analyse(parsed.statements, SAMPLE, null);
      assert.equal(JSON.stringify(own), JSON.stringify({ ...theirs, hint: null }), JSON.stringify(text));
    }
    assert.ok(compared > 1000, `${compared} texts parsed`);
  });
});
