import { type Fields, listOf, namesOf, textOf, unwrap } from './ast.ts';
import type { BackendSignal } from './verdict.ts';

/** Statements that are one function call and nothing else: `SELECT f(x)`. */
type SingleCall = { readonly name: string; readonly column: string | null; readonly args: readonly unknown[] };

const PLAIN = new Set(['targetList', 'limitOption', 'op']);

function singleCall(node: Fields): SingleCall | null {
  for (const field in node) if (!PLAIN.has(field)) return null;
  const [item, ...others] = listOf(node.targetList);
  const target = unwrap(item)?.node;
  const call = unwrap(target?.val);
  if (others.length > 0 || call?.tag !== 'FuncCall') return null;
  const names = namesOf(call.node.funcname);
  if (names.length > 1 && names[0] !== 'pg_catalog') return null;
  return { name: names.at(-1) ?? '', column: textOf(target?.name), args: listOf(call.node.args) };
}

/** `SELECT pg_is_in_recovery()`: how drivers look for a server that takes writes. */
export function isRoleCheck(node: Fields): boolean {
  const call = singleCall(node);
  return call !== null && call.name === 'pg_is_in_recovery' && call.column === null;
}

const KINDS = { pg_terminate_backend: 'terminate', pg_cancel_backend: 'cancel' } as const;

/** `SELECT pg_terminate_backend(123)` with a literal or a parameter. */
export function backendSignal(node: Fields): BackendSignal | null {
  const call = singleCall(node);
  if (call === null || !(call.name in KINDS) || call.args.length !== 1) return null;
  let arg = unwrap(call.args[0]);
  while (arg?.tag === 'TypeCast') arg = unwrap(arg.node.arg);
  const parameter = arg?.tag === 'ParamRef' && arg.node.number === 1;
  if (!parameter && arg?.tag !== 'A_Const') return null;
  return { kind: KINDS[call.name as keyof typeof KINDS], column: call.column, parameter };
}
