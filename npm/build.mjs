// Makes npm packages of a release's binaries: node npm/build.mjs DIST OUT
//
// DIST has the files wait-PLATFORM. OUT gets a package for each that npm knows, and the launcher, whose
// optional dependencies they are; npm installs the one for its own platform.
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const platforms = {
  'linux-amd64': ['linux', 'x64'],
  'linux-386': ['linux', 'ia32'],
  'linux-arm64': ['linux', 'arm64'],
  'linux-arm-v7': ['linux', 'arm'],
  'linux-ppc64le': ['linux', 'ppc64'],
  'linux-riscv64': ['linux', 'riscv64'],
  'linux-s390x': ['linux', 's390x'],
  'macos-amd64': ['darwin', 'x64'],
  'macos-arm64': ['darwin', 'arm64'],
};

const root = join(import.meta.dirname, '..');
const [dist, out] = process.argv.slice(2);
const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8');
const field = (name) => manifest.match(new RegExp(`^${name} = "(.*)"`, 'm'))[1];

function write(name, more) {
  const folder = join(out, name);
  mkdirSync(folder, { recursive: true });
  const [description, license, version, url] = ['description', 'license', 'version', 'repository'].map(field);
  const repository = { type: 'git', url: `git+${url}.git` };
  const json = { name, version, description, license, repository, ...more };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(json, null, 2)}\n`);
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  return folder;
}

const optionalDependencies = {};
for (const file of readdirSync(dist)) {
  const [, platform] = file.match(/^wait-(.+)$/) ?? [];
  if (!(platform in platforms)) continue;
  const [os, cpu] = platforms[platform];
  const name = `compose-wait-${os}-${cpu}`;
  const binary = join(write(name, { os: [os], cpu: [cpu], files: ['wait'] }), 'wait');
  copyFileSync(join(dist, file), binary);
  chmodSync(binary, 0o755);
  optionalDependencies[name] = field('version');
}
const bin = { 'compose-wait': 'compose-wait.js' };
const launcher = write('compose-wait', { bin, engines: { node: '>=18' }, optionalDependencies });
cpSync(join(root, 'npm/launcher'), launcher, { recursive: true });
