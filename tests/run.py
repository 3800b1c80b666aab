"""Runs the checks that must pass before a change is committed.

    ./test.sh                    the everyday run, about 15 minutes on two cores; CI runs it
    ./test.sh full               everything, in full sizes, about an hour; needs 10 GB in $TMPDIR
    ./test.sh soak               the steps that take hours: new simulated worlds, 200 kills, long races
    ./test.sh [full] NAME...     only these steps or groups, and what they need
    ./test.sh NAME... OPTIONS    the same, and the command of the last one gets the options
    ./test.sh --list             lists the steps with their groups

Examples: ./test.sh fmt clippy
          ./test.sh conformance-pickle-tokio
          ./test.sh python -k status
          ./test.sh full python -k kills --cycles 100

Needs Rust, Python 3 and openssl; strace, chromium, cargo-deny for some tests, which are skipped without
them. Python packages are installed into .venv. Environment: PYTHON (python3), JOBS (number of cores),
RZEO (a binary to test, in place of the one that is built).

A step that fails does not hide those after it. Logs are in target/test-logs, the times of all steps in
target/test-times.txt. The last line is "N passed, N failed"; the status is 1 if a step failed.
"""
import concurrent.futures
import dataclasses
import filecmp
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = 'target/test-logs'
TIMES = 'target/test-times.txt'
PYTHON = os.environ.get('PYTHON', 'python3')
VENV = '.venv/bin/python'
REQUIREMENTS = 'conformance/requirements.txt'
JOBS = int(os.environ.get('JOBS', os.cpu_count() or 2))
SIZES = 'short', 'full', 'soak'
#: Lines of its log that are shown of a step that fails.
TAIL = 60
#: Groups of conformance/groups.json that rzeo serves: all but resolve.
CONFORMANCE_GROUPS = ('connect commit concurrency client-conflicts admin lifecycle iterate undo pack blob '
                      'restore tls fan-out').split()
#: Crates that are not meant to be published.
UNPUBLISHED = 'rzeo-fixtures rzeo-sim rzeo-client-judge rzeo-bench'.split()
#: Programs that the Python tests start are built like the Rust tests, so that nothing is compiled twice.
BUILD = 'cargo build --locked --profile test --workspace --bins --examples'


@dataclasses.dataclass
class Step:
    """One line of the table."""
    name: str
    #: Words, or a function that returns words, or a function that does the work itself.
    command: object
    groups: tuple = ()
    #: Names of the steps that must pass first.
    needs: tuple = ()
    environment: dict = dataclasses.field(default_factory=dict)
    #: Runs at the same time as another such step: neither uses both cores all the time, and neither
    #: measures.
    waits: bool = False
    #: A step that takes longer is killed.
    minutes: int = 30
    #: Needs this program; without it the step is skipped with the advice.
    program: str = ''
    advice: str = ''


def steps(size):
    """All steps of a size, in the order in which they run."""
    rust = [
        Step('fmt', words('cargo fmt --all --check'), ('rust',)),
        Step('patterns', [PYTHON, 'fixtures/mutants.py', '--check'], ('rust', 'mutants')),
        Step('clippy', words('cargo clippy --workspace --all-targets --locked -- -D warnings'), ('rust',)),
        Step('tests', words('cargo test --workspace --locked'), ('rust',)),
        Step('doc', words('cargo doc --workspace --no-deps --locked'), ('rust',),
             environment={'RUSTDOCFLAGS': '-D warnings'}),
    ]
    build = [Step('programs', words(BUILD)), Step('venv', lambda: make_venv('.venv', REQUIREMENTS))]
    if size != 'short':
        build.append(Step('release', words('cargo build --release --locked -p rzeo -p rzeo-sim')))
    return {'short': short_steps, 'full': full_steps, 'soak': soak_steps}[size](rust, build)


def short_steps(rust, build):
    return [
        *rust, *build,
        conformance('pickle', 'tokio', 'target/debug/rzeo', 'programs'),
        conformance('msgpack', 'smol', 'target/debug/rzeo', 'programs'),
        pytest('python', 'target/debug/rzeo', '-n', str(JOBS), '-m', 'not alone and not slow', needs='programs',
               waits=True),
        pytest('python-alone', 'target/debug/rzeo', '-m', 'alone and not slow', needs='programs'),
        Step('mutants', lambda: [PYTHON, 'fixtures/mutants.py', '--changed', base(), '--max', '6'], ('mutants',)),
    ]


def full_steps(rust, build):
    return [
        *rust, *build,
        Step('venv-zope', lambda: make_venv('.venv-zope', 'tests/zope/requirements.txt')),
        Step('deny', words('cargo deny check licenses bans sources'), ('rust',),
             program='cargo-deny', advice='cargo install --locked cargo-deny'),
        Step('package', [*words('cargo package --workspace --no-verify --allow-dirty'), *(
            word for crate in UNPUBLISHED for word in ('--exclude', crate))], ('rust',)),
        Step('worlds', ['target/release/rzeo-sim', '--seeds', '2000'], needs=('release',)),
        Step('job-worlds', words('cargo test --release --locked -p rzeo-zasync --test worlds'), ('rust',),
             environment={'TASK_WORLDS': '2000'}),
        *(conformance(codec, runtime, 'target/release/rzeo', 'release')
          for runtime in ('tokio', 'smol') for codec in ('pickle', 'msgpack')),
        pytest('python', 'target/release/rzeo', '--size', 'full', '-n', str(JOBS), '-m', 'not alone',
               '--keep', f'{LOGS}/pages', needs='release', waits=True, minutes=90),
        Step('mutants', [PYTHON, 'fixtures/mutants.py'], ('mutants',), waits=True, minutes=120),
        Step('mutants-worlds', [PYTHON, 'fixtures/mutants.py', '--worlds'], ('mutants',), waits=True,
             minutes=120),
        pytest('python-alone', 'target/release/rzeo', '--size', 'full', '--compare', '-m', 'alone',
               needs='release', minutes=60),
    ]


def soak_steps(_rust, build):
    return [
        *build,
        Step('new-worlds', lambda: ['target/release/rzeo-sim', '--hours', '1', '--from', str(int(time.time()))],
             needs=('release',), minutes=90),
        pytest('kills', 'target/release/rzeo', '--size', 'full', '--cycles', '200', 'tests/test_kills.py',
               needs='release', minutes=120),
        pytest('races', 'target/release/rzeo', '--size', 'full', '--seconds', '1800', 'tests/test_races.py',
               needs='release', minutes=180),
        pytest('power-cuts', 'target/release/rzeo', '--size', 'full', '--cuts', '5000',
               'tests/test_power_cuts.py', needs='release', minutes=180),
        pytest('certificates', 'target/release/rzeo', '--size', 'full', '--random', '5000',
               'tests/test_tls_clients.py', 'tests/test_tls_servers.py', needs='release', minutes=120),
    ]


def words(text):
    return text.split()


def binary(built):
    return os.environ.get('RZEO', built)


def conformance(codec, runtime, built, needs):
    """The test suite of Python's ZEO against the binary.

    One of its tests gives the password of a key by a Python function that returns 1234. rzeo runs no
    Python and takes the password from the environment; the other keys of the tests have none.
    """
    name = f'conformance-{codec}-{runtime}'
    groups = [word for group in CONFORMANCE_GROUPS for word in ('--group', group)]
    return Step(name, [
        VENV, 'conformance/zeo_suite.py', '--server', f'{binary(built)} serve --runtime {runtime}',
        '--codec', codec, '--jobs', str(JOBS), '--strict-stop', '--verbose', '--logs',
        f'{LOGS}/servers-{codec}-{runtime}', *groups], ('conformance',), needs=('venv', needs),
        environment={'RZEO_TLS_KEY_PASSWORD': '1234'}, waits=True)


def pytest(name, built, *options, needs, **more):
    """Tests of the directory tests, with pytest."""
    where = [] if any(word.endswith('.py') for word in options) else ['tests']
    return Step(name, [VENV, '-m', 'pytest', '-v', '--durations', '30', '--rzeo', binary(built), *options,
                       *where], ('python',), needs=('venv', needs, 'programs'), **more)


def make_venv(path, requirements):
    """Installs pinned Python packages into a virtual environment, if their list has changed."""
    stamp = f'{path}/requirements.txt'
    if os.path.exists(stamp) and filecmp.cmp(requirements, stamp, shallow=False):
        return None
    shutil.rmtree(path, ignore_errors=True)
    return ['sh', '-c', f'{PYTHON} -m venv {path} && {path}/bin/python -m pip install --quiet '
                        f'--disable-pip-version-check -r {requirements} && cp {requirements} {stamp}']


def base():
    """The git revision before the last commits: where the branch began, or ten commits ago."""
    head = git('rev-parse', 'HEAD')
    for main in 'origin/main', 'main':
        found = git('merge-base', 'HEAD', main)
        if found and found != head:
            return found
    return git('rev-list', '--max-count', '10', 'HEAD').split()[-1]


def git(*arguments):
    done = subprocess.run(['git', *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ''


class Run:
    """The steps that run, and their results."""

    def __init__(self):
        #: (seconds, processor seconds, name, result)
        self.rows = []
        self.results = {}
        self.processes = set()
        self.lock = threading.Lock()
        self.is_over = False

    def all(self, todo):
        """Runs the steps in order; those that mostly wait run two at a time."""
        todo = list(todo)
        while todo and not self.is_over:
            beside = []
            while todo and todo[0].waits:
                beside.append(todo.pop(0))
            if beside:
                with concurrent.futures.ThreadPoolExecutor(2) as pool:
                    try:
                        list(pool.map(self.one, beside))
                    except BaseException:
                        # Otherwise the pool would wait for the steps.
                        self.stop()
                        raise
            else:
                self.one(todo.pop(0))

    def one(self, step):
        if self.is_over:
            return
        missing = [name for name in step.needs if self.results.get(name) not in ('ok', None)]
        started = time.monotonic()
        processor = 0
        log = f'{LOGS}/{step.name}.log'
        if missing:
            result, last = 'FAILED', f'needs {", ".join(missing)}'
        elif step.program and not shutil.which(step.program):
            result, last = 'skipped', f'{step.program} is not installed: {step.advice}'
        else:
            result, processor = self.command(step, log)
            last = last_line(log)
        seconds = time.monotonic() - started
        with self.lock:
            self.results[step.name] = result
            self.rows.append((seconds, processor, step.name, result))
            print(f'{step.name:28}{result:8}{seconds:5.0f} s  {last[:90]}', flush=True)
            if result == 'FAILED' and not missing:
                print(''.join(f'    {line}' for line in tail(log)), f'    the whole log is in {log}', flush=True)

    def command(self, step, log):
        """Returns the result and the processor time."""
        command = step.command() if callable(step.command) else step.command
        with open(log, 'wb') as output:
            if command is None:
                return 'ok', 0
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env={**os.environ, **step.environment}, start_new_session=True)
            with self.lock:
                self.processes.add(process.pid)
            killer = threading.Timer(step.minutes * 60, self.kill, [process.pid])
            killer.start()
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            is_late = not killer.is_alive()
            killer.cancel()
            # Processes that it has left running.
            self.kill(process.pid)
            with self.lock:
                self.processes.discard(process.pid)
            if is_late:
                output.write(f'\nkilled: it took longer than {step.minutes} minutes\n'.encode())
        return 'FAILED' if process.returncode else 'ok', usage.ru_utime + usage.ru_stime

    @staticmethod
    def kill(group):
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def stop(self):
        self.is_over = True
        for group in list(self.processes):
            self.kill(group)

    def report(self, started):
        """The table, slowest first; also in a file."""
        lines = [f'{"step":28}{"seconds":>8}{"cpu":>8}  result\n']
        lines += [f'{name:28}{seconds:8.0f}{processor:8.0f}  {result}\n'
                  for seconds, processor, name, result in sorted(self.rows, reverse=True)]
        lines.append(f'{"in all":28}{time.monotonic() - started:8.0f}'
                     f'{sum(processor for _, processor, _, _ in self.rows):8.0f}\n')
        with open(TIMES, 'w') as f:
            f.writelines(lines)
        print('\n' + ''.join(lines))
        failed = [name for name, result in self.results.items() if result == 'FAILED']
        if failed:
            print('failed:', ', '.join(failed))
        print(f'{sum(result == "ok" for result in self.results.values())} passed, {len(failed)} failed')
        return 1 if failed or self.is_over else 0


def tail(log):
    with open(log, errors='replace') as f:
        return f.readlines()[-TAIL:]


def last_line(log):
    lines = [line.strip() for line in tail(log)] if os.path.exists(log) else []
    return next((line for line in reversed(lines) if line), '').strip('= ')


def known(everything):
    """The names of steps and groups."""
    return {step.name for step in everything} | {group for step in everything for group in step.groups}


def selected(everything, names):
    """The steps of these names and groups, with what they need, in order."""
    unknown = [name for name in names if name not in known(everything)]
    if unknown:
        sys.exit(f'no step or group is called {", ".join(unknown)}; ./test.sh --list shows all')
    wanted = {step.name for step in everything if step.name in names or set(step.groups) & set(names)}
    for step in reversed(everything):
        if step.name in wanted:
            wanted.update(step.needs)
    return [step for step in everything if step.name in wanted]


def with_options(todo, name, options):
    """Gives the options to the last step of this name or group."""
    if name == 'python':
        # The options select the tests, whatever their marks.
        todo[:] = [step for step in todo if step.name != 'python-alone']
    step = next(step for step in reversed(todo) if name in (step.name, *step.groups))
    if not isinstance(step.command, list):
        sys.exit(f'{step.name} takes no options')
    if name == 'python':
        del step.command[step.command.index('-n'):step.command.index('tests')]
    step.command += options


def main():
    os.chdir(ROOT)
    arguments = sys.argv[1:]
    options = next((n for n, word in enumerate(arguments) if word.startswith('-')), len(arguments))
    names, options = arguments[:options], arguments[options:]
    size = names.pop(0) if names and names[0] in SIZES else 'short'
    if options and options[0] in ('-h', '--help'):
        return print(__doc__)
    everything = steps(size)
    if size == 'short' and not known(everything).issuperset(names):
        # Steps that only the full run has need not be called so.
        everything = steps('full')
    if options == ['--list']:
        for step in everything:
            print(f'{step.name:28}{" ".join(step.groups)}')
        return None
    if options and not names:
        sys.exit('options are for a step: ./test.sh NAME... OPTIONS; ./test.sh --help shows more')
    todo = selected(everything, names) if names else everything
    if options:
        with_options(todo, names[-1], options)
    os.makedirs(LOGS, exist_ok=True)
    run, started = Run(), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        run.all(todo)
    except (KeyboardInterrupt, SystemExit):
        print('stopped')
        run.is_over = True
    finally:
        run.stop() if run.is_over else None
        status = run.report(started)
    return status


if __name__ == '__main__':
    sys.exit(main())
