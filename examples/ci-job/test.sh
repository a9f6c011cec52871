#!/bin/sh
# What the CI jobs beside this file call, and a developer can: waits for MySQL and runs the tests.
set -eu
cd "$(dirname "$0")"
: "${DB_HOST:=127.0.0.1}" "${DB_PORT:=3306}" "${DB_PASSWORD:=for-this-example}"
export DB_HOST DB_PORT DB_PASSWORD

# On a published port, Docker itself takes connections from the start: waiting for the port
# (WAIT_HOSTS=$DB_HOST:$DB_PORT) would be over long before MySQL listens. A login tells.
WAIT_MYSQL="root@$DB_HOST:$DB_PORT/shop" WAIT_MYSQL_PASSWORD="$DB_PASSWORD" WAIT_TIMEOUT=2m "${WAIT:-./wait}"

npm test
