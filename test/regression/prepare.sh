#!/bin/bash
# Builds PostgreSQL's own regression tests from Debian's source package, in the version of the server that is installed:
#   test/regression/prepare.sh DIRECTORY
# Then FAIRLEAD_REGRESSION=DIRECTORY lets regression-schedule.test.ts run them. Needs a compiler and make; installs nothing.
set -euo pipefail
to=$(mkdir -p "$1" && cd "$1" && pwd)
[ ! -x "$to/pg_regress" ] || { echo "$to has them already"; exit 0; }
major=$(ls -d /usr/lib/postgresql/*/bin/postgres | sed 's#.*/\([0-9]*\)/bin/postgres#\1#' | sort -n | tail -1)
work=$(mktemp -d "${TMPDIR:-/tmp}/fairlead-regression.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# sources of the configured mirrors, without touching the machine's own lists
mkdir -p parts lists/partial
for file in /etc/apt/sources.list.d/*.sources; do
  [ -e "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" > "parts/$(basename "$file")"
done
[ ! -s /etc/apt/sources.list ] || sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > list
touch list
apt=(-o Dir::Etc::SourceList="$work/list" -o Dir::Etc::SourceParts="$work/parts" -o Dir::State::Lists="$work/lists" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update -qq
wanted=$(dpkg-query -W -f '${source:Version}' "postgresql-$major")
offered=$(apt-cache "${apt[@]}" showsrc "postgresql-$major" | sed -n 's/^Version: //p')
for version in "$wanted" $offered; do
  apt-get "${apt[@]}" source -qq --download-only "postgresql-$major=$version" && break
done
tar xjf postgresql-*.orig.tar.bz2 --strip-components=1

./configure --without-readline --without-zlib --without-icu > "$work/log" 2>&1 || ./configure --without-readline --without-zlib > "$work/log" 2>&1
make -s -j2 -C src/backend generated-headers >> "$work/log" 2>&1
for part in src/port src/common; do make -s -j2 -C $part >> "$work/log" 2>&1; done
make -s -C src/test/regress pg_regress regress.so >> "$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
make -s -C contrib/spi >> "$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
cd src/test/regress
cp -r data sql expected resultmap parallel_schedule regress.so ../../../contrib/spi/{refint,autoinc}.so "$to/"
echo "$major" > "$to/major"
cp pg_regress "$to/"
chmod -R a+rX "$to"
echo "regression tests of PostgreSQL $(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" ../../../configure) in $to"
