import { cpus } from 'node:os';
import { Classifier } from '../src/sql/classifier.ts';
import { LiteralKey } from '../src/sql/literal-key.ts';

/** What classification costs: the key alone, a hit, a miss. Run: `node dist/bench/classifier.js`. */

const TEXTS: Readonly<Record<string, string>> = {
  'short SELECT, parameter': 'SELECT a, b FROM t WHERE id = $1',
  'short SELECT, literals': "SELECT name FROM users WHERE id = 4711 AND state = 'active'",
  'pgbench -S': 'SELECT abalance FROM pgbench_accounts WHERE aid = 91834;',
  'ORM join (560 bytes)':
    'SELECT "u"."id" AS "u_id", "u"."email" AS "u_email", "u"."created_at" AS "u_created_at", "o"."id" AS "o_id", ' +
    '"o"."total" AS "o_total", "o"."currency" AS "o_currency", "o"."status" AS "o_status", "i"."sku" AS "i_sku", ' +
    '"i"."quantity" AS "i_quantity" FROM "public"."users" "u" LEFT JOIN "public"."orders" "o" ON "o"."user_id" = ' +
    '"u"."id" AND "o"."deleted_at" IS NULL LEFT JOIN "public"."items" "i" ON "i"."order_id" = "o"."id" WHERE ' +
    `"u"."email" = 'someone@example.org' AND "o"."status" IN ('open', 'paid', 'sent') ORDER BY "o"."id" DESC LIMIT 50`,
  'INSERT of 1000 rows (24 kB)': `INSERT INTO t (a, b) VALUES ${Array.from({ length: 1000 }, (_, i) => `(${i}, 'some text ${i}')`).join(', ')}`,
};

function time(runs: number, body: () => void): number {
  for (let i = 0; i < Math.min(runs, 20_000); i++) body();
  const start = process.hrtime.bigint();
  for (let i = 0; i < runs; i++) body();
  return Number(process.hrtime.bigint() - start) / runs / 1000;
}

await Classifier.load();
console.log(
  `${cpus()[0]?.model.trim()}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}; µs per text`,
);
console.log(['text', 'key', 'hit', 'miss'].join('\t'));
for (const [name, text] of Object.entries(TEXTS)) {
  const buffer = Buffer.from(text);
  const runs = buffer.length > 5000 ? 2000 : 300_000;
  const key = new LiteralKey();
  const keyUs = time(runs, () => key.build(buffer, 0, buffer.length));
  const warm = new Classifier({ maxEntries: 1000 });
  const hitUs = time(runs, () => warm.classify(buffer, 0, buffer.length, null));
  // Three shapes displace one another in a cache of two generations of one entry.
  const cold = new Classifier({ maxEntries: 2 });
  const others = [1, 2, 3].map((n) => Buffer.from(`/* fairlead: max_staleness=${n}s */ ${text}`));
  let turn = 0;
  const missUs = time(Math.max(500, runs / 30), () => {
    const other = others[turn++ % 3] as Buffer;
    cold.classify(other, 0, other.length, null);
  });
  console.log([name, keyUs.toFixed(2), hitUs.toFixed(2), missUs.toFixed(1)].join('\t'));
}
