/** Settings of a session, for its `options`: values are printed in the one form that every server reads back as the same value. */
export const PLAIN_OUTPUT = [
  'timezone=UTC',
  'datestyle=ISO',
  'intervalstyle=postgres',
  'extra_float_digits=3',
  'bytea_output=hex',
  'search_path=pg_catalog',
]
  .map((setting) => `-c ${setting}`)
  .join(' ');
