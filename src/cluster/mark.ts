/**
 * What a change of primary that is under way writes into a server's own settings, so that a Fairlead that starts in the middle of it, on
 * whatever host, knows what is unfinished and what to put back. It goes behind the text of `primary_conninfo`, which stands in front of it
 * word for word: of keywords that come twice libpq takes the last one. Only roles that may read that setting see it.
 */

/**
 * | kind | where | means |
 * |---|---|---|
 * | frozen | a replica | receives nothing: port 0 is refused before anything is connected |
 * | forward | a replica | fetches what it lacks from another replica |
 * | promote | the elected one | is told to promote; stays until the change is complete |
 * | fence | a primary | is being fenced; gone when the fence is complete and names itself |
 */
export type MarkKind = 'frozen' | 'forward' | 'promote' | 'fence';

export type Mark = {
  readonly kind: MarkKind;
  /** Of the change that wrote it. */
  readonly epoch: number;
  /** That of a replica's WAL: what its control file names lags behind. 0: not known, or a primary's. */
  readonly timeline: number;
  /** What has to be remembered besides: the slot of a replica, what a fence covers. */
  readonly detail: string;
};

/** In `synchronous_standby_names` of a fenced primary, with the epoch behind it. */
export const FENCE_NAME = 'fairlead_fence_';

const MARK = /[ ?&]fallback_application_name=fairlead:(frozen|forward|promote|fence):(\d+):(\d+):([\w-]*)/;

/** The part of a marked setting that a probe reads. The detail stays where it is. */
export const MARK_PATTERN = '[ ?&]fallback_application_name=(fairlead:[a-z]+:[0-9]+:[0-9]+:)';

/** @param text what MARK_PATTERN found; null: nothing */
export function parseMark(text: string | null): Mark | null {
  return text === null ? null : splitMark(` fallback_application_name=${text}`).mark;
}

/** The setting as it was before it was marked, and the mark. */
export function splitMark(setting: string): { readonly original: string; readonly mark: Mark | null } {
  const found = MARK.exec(setting);
  if (found === null) return { original: setting, mark: null };
  const [kind, epoch, timeline, detail] = found.slice(1) as [MarkKind, string, string, string];
  const mark = { kind, epoch: Number(epoch), timeline: Number(timeline), detail };
  return { original: setting.slice(0, found.index), mark };
}

/** @param to where a forwarded replica fetches from */
export function withMark(original: string, mark: Mark, to?: { readonly host: string; readonly port: number }): string {
  const isUri = /^postgres(ql)?:\/\//.test(original);
  const pairs: [string, string][] = [
    ['fallback_application_name', `fairlead:${mark.kind}:${mark.epoch}:${mark.timeline}:${mark.detail}`],
  ];
  if (to !== undefined) pairs.push(['hostaddr', ''], ['host', to.host], ['port', String(to.port)]);
  // a former primary that is being fenced, and has somewhere to go, may become a replica by somebody's hand
  else if (mark.kind !== 'fence' || original === '') pairs.push(['port', '0']);
  if (isUri) {
    const query = pairs.map(([key, value]) => `${key}=${key === 'host' ? encodeURIComponent(value) : value}`);
    return `${original}${original.includes('?') ? '&' : '?'}${query.join('&')}`;
  }
  const words = pairs.map(([key, value]) => `${key}=${/^[\w.:@/-]+$/.test(value) ? value : quote(value)}`);
  return `${original} ${words.join(' ')}`;
}

function quote(value: string): string {
  return `'${value.replace(/[\\']/g, '\\$&')}'`;
}
