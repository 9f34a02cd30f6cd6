/** Numbers as people read them. Null is a dash everywhere: not known is not zero. */
export const DASH = '–';

/** @returns {[string, string]} value and unit, apart because the unit is set smaller in places */
export function timeParts(ms) {
  if (ms === null || ms === undefined) return [DASH, ''];
  if (ms < 0.0005) return ['0', 'ms'];
  if (ms < 1) return [ms.toFixed(2), 'ms'];
  if (ms < 9.95) return [ms.toFixed(1), 'ms'];
  if (ms < 999.5) return [ms.toFixed(0), 'ms'];
  if (ms < 9950) return [(ms / 1000).toFixed(2), 's'];
  if (ms < 119_500) return [(ms / 1000).toFixed(1), 's'];
  if (ms < 7_170_000) return [(ms / 60_000).toFixed(1), 'min'];
  return [(ms / 3_600_000).toFixed(1), 'h'];
}

export function time(ms) {
  return timeParts(ms).join('\u2009').trim();
}

export function bytes(n) {
  if (n === null || n === undefined) return DASH;
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  let value = n;
  while (value >= 1000 && i < units.length - 1) {
    value /= 1024;
    i++;
  }
  return `${i === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)}\u2009${units[i]}`;
}

export function count(n) {
  if (n === null || n === undefined) return DASH;
  if (n >= 1e6) return `${(n / 1e6).toFixed(n < 1e7 ? 2 : 1)}M`;
  if (n >= 1e4) return `${(n / 1e3).toFixed(1)}k`;
  if (n >= 100 || Number.isInteger(n)) return Math.round(n).toLocaleString('en-US');
  return n.toFixed(1);
}

export function percent(share) {
  if (share === null || share === undefined) return DASH;
  const value = share * 100;
  // 99.96 % must not read as 100 %: the rest is what one looks for
  if (value > 99 && value < 100) return `${(Math.floor(value * 100) / 100).toFixed(2)}\u2009%`;
  if (value > 0 && value < 10) return `${value < 0.1 ? '<0.1' : value.toFixed(1)}\u2009%`;
  return `${value.toFixed(value === 100 || value === 0 ? 0 : 1)}\u2009%`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString('en-GB');
}

export function day(ms) {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(ms) : `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} ${clock(ms)}`;
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}
