#!/usr/bin/env node
// compose-wait [OPTION | TARGET]... [-- COMMAND [ARG]...]: runs the binary from the package for this platform.
'use strict';
const { spawn } = require('node:child_process');
const { constants } = require('node:os');

/** The arguments of the binary, whose targets follow --for. */
function translated(args) {
  const withoutValue = ['--help', '-h', '--version', '-V', '--dry-run'];
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  const translated = [];
  for (let i = 0; i < end; i++) {
    if (!args[i].startsWith('-')) translated.push('--for', args[i]);
    else if (args[i].includes('=') || withoutValue.includes(args[i]) || i + 1 === end) translated.push(args[i]);
    else translated.push(args[i], args[++i]);
  }
  return translated.concat(args.slice(end));
}

function binary() {
  const platform = `${process.platform}-${process.arch}`;
  try {
    return require.resolve(`compose-wait-${platform}/wait`);
  } catch {
    console.error(
      `compose-wait: the package compose-wait-${platform} is not installed: ` +
        'there is none for this platform, or npm was told to leave out optional dependencies',
    );
    process.exit(126);
  }
}

const child = spawn(binary(), translated(process.argv.slice(2)), { stdio: 'inherit' });

// At a terminal, Ctrl-C reaches the child without us.
const fromTerminal = process.stdin.isTTY ? ['SIGINT', 'SIGQUIT'] : [];
const signals = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'];
for (const signal of signals) {
  process.on(signal, () => fromTerminal.includes(signal) || child.kill(signal));
}

child.on('error', ({ message }) => {
  console.error(`compose-wait: ${message}`);
  process.exit(126);
});
child.on('exit', (status, signal) => {
  if (signal === null) process.exit(status);
  // Ends as the child did, or, where Node.js does not let it, with the shell's status for that.
  process.removeAllListeners(signal);
  process.exitCode = 128 + constants.signals[signal];
  process.kill(process.pid, signal);
});
