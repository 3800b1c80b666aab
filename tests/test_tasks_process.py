"""The Python process that executes jobs, without a worker: these tests send it messages and claim its jobs.

It is the script of the crate rzeo-tasks; docs/job-process.md describes the messages. Each test runs
beside both servers.
"""
import datetime
import os
import signal
import time

import pytest
from finish_proxy import FinishProxy
from job_process import PATIENCE, Jobs, is_alive
from servers import Server
from task_snippet import cancel
from tasks import until
from ZODB.POSException import ConflictError
from ZODB.utils import u64


@pytest.fixture(params=['rzeo', 'python'])
def jobs(request, directory):
    command = request.getfixturevalue('serve' if request.param == 'rzeo' else 'reference')
    with Server(command, f'{directory}/Data.fs') as server:
        jobs = Jobs(server, directory)
        yield jobs
        jobs.close()


def test_result_and_changes_are_one_commit(jobs):
    before = time.time()
    ended = jobs.execute('count', 'counter', step=5)
    assert ended['how'] == 'committed'
    job = jobs.job()
    assert (job['state'], job['result'], jobs.count()) == ('done', 5, 5)
    assert before - 1 < job['ended'] < time.time() + 1
    assert job['lease'] and job['owner'] == 'w'
    serials = jobs.read(lambda root: (root['job'].get('state'), root['counter'].get('value'),
                                      u64(root['job']._p_serial), u64(root['counter']._p_serial)))
    assert serials == ('done', 5, ended['tid'], ended['tid'])


def test_arguments_and_results_are_those_of_the_database(jobs):
    args = (1, 2.5, b'bytes', None, 'text', (), datetime.date(2026, 12, 1), {'a': [2 ** 70]}, frozenset([1]))
    assert jobs.execute('same', *args, 'counter', key='value')['how'] == 'committed'

    def read(root):
        values, keywords = root['job']['result']
        assert values == (*args, root['counter'])
        assert values[-1] is root['counter']
        assert keywords == {'key': 'value'}
    jobs.read(read)


def test_functions_need_no_arguments_from_the_database(jobs):
    process = jobs.process()
    for call, args, result in [('add', (1, 2), 3), ('described', (), ('j1', 'task_functions:described', 1)),
                               ('count_in_root', (), 1), ('Klass.method', (), 'of a class')]:
        assert process.execute(jobs.claim(call, *args))['how'] == 'committed'
        assert jobs.job()['result'] == result


def test_a_persistent_result_is_stored_by_reference(jobs):
    jobs.execute('same', 'counter')
    jobs.change(lambda root: root['counter'].update(value=9))
    assert jobs.read(lambda root: root['job']['result'][0][0]['value']) == 9


def test_savepoints_are_part_of_the_transaction(jobs):
    ended = jobs.execute('count_with_savepoint', 'counter')
    assert jobs.count() == jobs.job()['result'] == 2
    assert jobs.read(lambda root: (root['job'].get('x'), u64(root['job']._p_serial))) == (None, ended['tid'])


def test_conflicting_changes_are_reported_and_dropped(jobs):
    process, go = jobs.process(), f'{jobs.directory}/go'
    process.start(jobs.claim('wait_for', go, 'counter'))
    jobs.change(lambda root: root['counter'].update(value=100))
    open(go, 'w').close()
    # It may have read the counter after that change.
    ended = process.end()
    if ended == {'how': 'conflict'}:
        assert (jobs.job()['state'], jobs.count()) == ('running', 100)
    else:
        assert (ended['how'], jobs.count()) == ('committed', 101)


@pytest.mark.parametrize('change', [
    dict(state='pending'), dict(lease=1), dict(cancel=True), dict(state='failed')], ids=str)
def test_a_function_that_loses_its_job_cannot_commit(jobs, change):
    process, go = jobs.process(), f'{jobs.directory}/go'
    process.start(jobs.claim('notes', 1, 'counter', go))
    until(lambda: jobs.job()['side'].get('notes', {}).get('ends'))
    jobs.change(lambda root: root['job'].update(change))
    open(go, 'w').close()
    assert process.end() == {'how': 'conflict'}
    assert jobs.count() == 0
    assert 'result' not in jobs.job()


@pytest.mark.parametrize('change, state', [
    (dict(state='pending'), 'pending'), (dict(lease=1), 'running'), (dict(cancel=True), 'cancel'),
    (dict(state='done'), 'done')], ids=str)
def test_the_job_of_another_claim_is_refused(jobs, change, state):
    job = jobs.claim('count', 'counter')
    jobs.change(lambda root: root['job'].update(change))
    tid = jobs.read(lambda root: root['job'].get('state') and u64(root['job']._p_serial))
    assert jobs.process().execute(job, claimed=tid) == {'how': 'refused', 'state': state}
    assert jobs.count() == 0


def test_a_job_that_is_gone_is_refused(jobs):
    assert jobs.process().execute(jobs.claim('add'), job=2 ** 40) == {'how': 'refused', 'state': 'absent'}


def test_a_job_whose_claim_is_not_seen_is_not_begun(jobs):
    process = jobs.process(wait_timeout=.2)
    job = jobs.claim('count', 'counter')
    assert process.execute(job, claimed=2 ** 62) == {'how': 'lost'}
    assert process.execute(job)['how'] == 'committed'


def test_a_failure_has_a_trace_and_no_effects(jobs):
    ended = jobs.execute('fail_after', 'counter')
    trace = ended.pop('trace')
    assert ended == {'how': 'failed', 'kind': 'ValueError', 'message': 'wrong', 'is_final': False}
    assert trace.startswith('Traceback') and trace.endswith('ValueError: wrong\n')
    assert 'in fail_after' in trace and 'rzeo-job-process' not in trace
    assert (jobs.count(), jobs.job()['state']) == (0, 'running')


def test_whatever_a_function_raises_is_a_failure(jobs):
    process = jobs.process()
    for call, args, kind in [
            ('fail_oddly', (), 'task_functions.fail_oddly.<locals>.Odd'), ('leave', (), 'SystemExit'),
            ('add', ('a',), 'TypeError'), ('absent', (), 'AttributeError'), ('fail', ('\ud800',), 'ValueError'),
            ('snooze', (), 'TypeError'), ('large_note', (), 'ValueError')]:
        ended = process.execute(jobs.claim(call, *args))
        assert (ended['how'], ended['kind']) == ('failed', kind), ended
    ended = process.execute(jobs.claim('fail_with', 'ä'))
    assert len(ended['message']) <= 4096 and len(ended['trace']) <= 32768
    assert process.execute(jobs.claim('add', 1))['how'] == 'committed'


@pytest.mark.parametrize('call', ['commit', 'commit_and_go_on', 'abort', 'begin'])
def test_a_function_must_not_end_its_transaction(jobs, call):
    ended = jobs.execute(call, 'counter')
    assert (ended['how'], ended['kind'], ended['is_final']) == ('failed', 'transaction', True)
    assert (jobs.count(), jobs.job()['state']) == (0, 'running')


def test_a_result_that_cannot_be_stored_is_a_failure(jobs):
    ended = jobs.execute('unpicklable', 'counter')
    assert ended['how'] == 'failed'
    assert ended['message'].startswith('the result or the changes cannot be stored: ')
    assert (jobs.count(), jobs.job()['state']) == (0, 'running')


def test_only_allowed_functions_are_called(jobs):
    process = jobs.process(allow=['task_functions:a?d', 'task_functions:system.*', 'os.path:*'])
    assert process.execute(jobs.claim('add', 1))['how'] == 'committed'
    for call in 'task_functions:count', 'os:getpid', 'task_functions:system.getpid', 'task_functions:added':
        ended = process.execute(jobs.claim('add'), call=call)
        assert (ended['how'], ended['kind'], ended['is_final']) == ('failed', 'not-allowed', True)
    assert process.execute(jobs.claim('add'), call='os.path:')['kind'] == 'TypeError'


def test_a_function_can_snooze(jobs):
    ended = jobs.execute('snooze', 'counter')
    assert ended['how'] == 'snoozed'
    assert abs(ended['until'] - time.time() - 60) < 5
    assert jobs.count() == 0


def test_notes_are_visible_while_the_transaction_is_open(jobs):
    process, go = jobs.process(), f'{jobs.directory}/go'
    process.start(jobs.claim('notes', 20, 'counter', go))
    until(lambda: jobs.job()['side'].get('notes', {}).get('ends'))
    job = jobs.read(lambda root: (root['job']['state'], dict(root['job']['side']), root['counter']['value']))
    assert job == ('running', {'notes': {'progress': {'done': 20, 'total': 20}, 'ends': True}}, 0)
    # An application adds its own.
    jobs.change(lambda root: root['job']['side'].update(remark='from outside'))
    open(go, 'w').close()
    assert process.end()['how'] == 'committed'
    job = jobs.read(lambda root: (root['job']['state'], set(root['job']['side']), root['counter']['value']))
    assert job == ('done', {'notes', 'remark'}, 1)


def test_notes_do_not_disturb_those_who_write_beside_them(jobs):
    process = jobs.process()
    process.start(jobs.claim('notes', 100, 'counter'))
    written = 0
    while process.process.poll() is None and jobs.job()['state'] == 'running' and written < 50:
        try:
            jobs.change(lambda root: root['job']['side'].update(remark=written))
            written += 1
        except ConflictError:
            pass
    assert process.end()['how'] == 'committed'
    notes = jobs.read(lambda root: root['job']['side']['notes'])
    assert notes == {'progress': {'done': 100, 'total': 100}, 'ends': True}


def test_a_note_of_a_lost_job_ends_the_function(jobs):
    process = jobs.process()
    process.start(jobs.claim('notes_for_ever', 'counter'))
    until(lambda: jobs.job()['side'].get('notes'))
    jobs.change(lambda root: root['job'].update(lease=1))
    assert process.end() == {'how': 'stopped'}
    assert jobs.count() == 0


def test_a_cancelled_function_is_notified(jobs):
    process = jobs.process()
    job = jobs.claim('until_stopped', 'counter')
    process.start(job)
    until(lambda: jobs.job()['side'].get('notes'))
    jobs.change(lambda root: cancel(root['job']))
    process.send('stop', lease=job['lease'], reason='cancelled')
    assert process.end() == {'how': 'stopped'}
    assert jobs.count() == 0


def test_another_claim_is_not_stopped(jobs):
    process, go = jobs.process(), f'{jobs.directory}/go'
    job = jobs.claim('check_after', go)
    process.start(job)
    process.send('stop', lease=job['lease'] + 1, reason='cancelled')
    open(go, 'w').close()
    assert process.end()['how'] == 'committed'


def test_output_belongs_to_the_job(jobs):
    process = jobs.process()
    job = jobs.claim('prints', 'ä text')
    assert process.execute(job)['how'] == 'committed'
    begin, output, end = process.printed().split('\0')
    assert (begin, end) == ('', '\n')
    lease, *lines = output.splitlines()
    assert lease == str(job['lease'])
    assert sorted(lines) == sorted(['ä text', 'INFO app: logged', 'by descriptor', 'by another process', 'no end'])


def test_the_process_ends_with_the_worker(jobs):
    process = jobs.process()
    process.start(jobs.claim('wait_for', f'{jobs.directory}/never', 'counter'))
    process.process.stdin.close()
    assert process.process.wait(PATIENCE) == -signal.SIGKILL
    assert (jobs.count(), jobs.job()['state']) == (0, 'running')


def test_the_process_leaves_signals_to_the_worker(jobs):
    process, go = jobs.process(), f'{jobs.directory}/go'
    process.start(jobs.claim('wait_for', go, 'counter'))
    for number in signal.SIGTERM, signal.SIGINT:
        process.process.send_signal(number)
    open(go, 'w').close()
    assert process.end()['how'] == 'committed'


def test_a_dead_process_is_noticed(jobs):
    process = jobs.process()
    process.start(jobs.claim('die'))
    assert process.end() is None
    assert process.process.wait(PATIENCE) == 7


def test_a_dead_process_is_noticed_while_another_lives_that_it_has_forked(jobs):
    process, path = jobs.process(), f'{jobs.directory}/pid'
    process.start(jobs.claim('fork_and_die', path))
    assert process.end() is None
    with open(path) as f:
        pid = int(f.read())
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_memory_has_a_limit(jobs):
    process = jobs.process(memory=600 << 20)
    ended = process.execute(jobs.claim('allocate', 1 << 30))
    assert (ended['how'], ended['kind']) == ('failed', 'MemoryError')
    assert process.execute(jobs.claim('allocate', 1 << 20))['how'] == 'committed'


def test_a_server_that_cannot_be_reached_is_named(jobs):
    process = jobs.process(servers=['/nowhere/socket'], wait_timeout=.5)
    assert process.opened['type'] == 'unusable'
    assert 'ClientDisconnected' in process.opened['message']
    assert process.process.wait(PATIENCE) == 0


def test_the_connection_is_lost_while_the_function_works(jobs):
    process, go = jobs.process(wait_timeout=1), f'{jobs.directory}/go'
    process.start(jobs.claim('wait_for', go, 'counter'))
    time.sleep(.2)
    jobs.server.process.send_signal(signal.SIGKILL)
    jobs.server.process.wait()
    open(go, 'w').close()
    assert process.end() == {'how': 'lost'}
    with Server(jobs.server.command, jobs.server.path, address='%s:%d' % jobs.server.address):
        assert (jobs.count(), jobs.job()['state']) == (0, 'running')
        process.wait_timeout = 10


def test_an_unknown_outcome_is_reported(jobs):
    proxy = FinishProxy(jobs.server.address, seed=1)
    process = jobs.process(servers=[list(proxy.address)])
    assert process.execute(jobs.claim('count', 'counter'))['how'] == 'committed'
    proxy.chance = 1
    counts = []
    for _ in range(4):
        before = jobs.count()
        assert process.execute(jobs.claim('count', 'counter')) == {'how': 'unknown'}
        # Result and changes are both there, or both absent.
        if proxy.counts['reply lost'] > len([c for c in counts if c]):
            until(lambda: jobs.job()['state'] == 'done')
        counts.append(jobs.count() - before)
        assert (jobs.job()['state'] == 'done') == (counts[-1] == 1)
    assert set(counts) == {0, 1}
    proxy.chance = 0
    assert process.execute(jobs.claim('count', 'counter'))['how'] == 'committed'
    proxy.close()
