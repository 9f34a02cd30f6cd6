/**
 * Where random tests begin: FAIRLEAD_SEED, else anywhere; with CI=true always at the same place, for a gate says something about a change and not about
 * its luck.
 */
export const SEED = Number(
  process.env.FAIRLEAD_SEED ?? (process.env.CI === 'true' ? 1 : Math.floor(Math.random() * 1e9)),
);
