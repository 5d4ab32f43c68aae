-- What all workers together know of the tools, and who of them may call one now.
--
-- ARGV[1] is JSON, {worker, ops}; the answers come back as JSON, one for each op, in their order.
-- An op looks (its counts are taken, the state is told), asks for a call, or tells what one came to.
-- Of two stories the one with the higher epoch is true: a caller's view restores what Redis lost.
-- All times are milliseconds; those that travel are spans, for no two clocks are the same.

local PREFIX = 'sluice.health:'
local LIVES, LONGEST_OPEN, HALF_OPEN, DAY = 5000, 600000, 1000, 86400
local LONGEST_TURN = 30000  -- a tool that is well again soon earns more than it did
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local said = cjson.decode(ARGV[1])

redis.call('ZADD', PREFIX .. 'workers', now, said.worker)
redis.call('ZREMRANGEBYSCORE', PREFIX .. 'workers', '-inf', now - LIVES)
redis.call('ZREMRANGEBYSCORE', PREFIX .. 'workers', now + LIVES, '+inf')
redis.call('EXPIRE', PREFIX .. 'workers', DAY)
local workers = redis.call('ZCARD', PREFIX .. 'workers')

local function become(it, state, left)
  it.state, it.epoch, it.untl = state, it.epoch + 1, now + left
  it.good, it.uneasy, it.good_calls, it.changed = 0, 0, 0, true
  redis.call('DEL', it.key .. ':probes', it.key .. ':counts')
end

local function open(it, rules)
  it.openings = it.openings + 1
  local left = rules.open * 2 ^ math.min(it.openings - 1, 12)
  become(it, 'open', math.floor(math.min(LONGEST_OPEN, left) * (1 + (now % 97) / 970)))
end

local function load(op)
  local key = PREFIX .. 'tool:' .. op.tool
  local v = redis.call('HMGET', key, 'state', 'epoch', 'until', 'openings', 'good', 'uneasy',
                       'tat', 'line', 'pace', 'good_calls', 'debt', 'debt_at', 'again_line')
  local it = {
    key = key, state = v[1] or 'closed', epoch = tonumber(v[2] or 0), untl = tonumber(v[3] or 0),
    openings = tonumber(v[4] or 0), good = tonumber(v[5] or 0), uneasy = tonumber(v[6] or 0),
    tat = tonumber(v[7] or 0), line = tonumber(v[8] or 0), pace = tonumber(v[9] or 0),
    good_calls = tonumber(v[10] or 0), debt = tonumber(v[11] or 0),
    debt_at = tonumber(v[12] or 0), again_line = tonumber(v[13] or 0), changed = false, told = '',
  }
  if op.view.epoch > it.epoch then
    become(it, op.view.state, op.view.left)
    it.epoch, it.openings, it.changed = op.view.epoch, op.view.openings, false
  end
  if it.untl > now + 1.2 * LONGEST_OPEN then it.untl = now end  -- the clock was put back
  if it.tat > now + 3600000 then it.tat = now end
  if it.line > now + 3600000 then it.line = now end
  if it.pace > now + 3700000 then it.pace = now end
  if it.again_line > now + 3600000 then it.again_line = now end
  return it
end

local function save(it)
  redis.call('HSET', it.key, 'state', it.state, 'epoch', it.epoch, 'until', it.untl,
             'openings', it.openings, 'good', it.good, 'uneasy', it.uneasy,
             'tat', it.tat, 'line', it.line, 'pace', it.pace, 'good_calls', it.good_calls,
             'debt', it.debt, 'debt_at', it.debt_at, 'again_line', it.again_line)
  redis.call('EXPIRE', it.key, DAY)
end

-- Each worker says how its own window stands, so that saying it twice counts once.
local function counted(it, op)
  local key, c = it.key .. ':counts', op.counts
  if c and c.epoch == it.epoch and it.state == 'closed' then
    redis.call('HSET', key, said.worker,
               table.concat({now, c.ok, c.failed, c.recent_ok, c.recent_failed}, ' '))
    redis.call('EXPIRE', key, DAY)
  end
  local spans = {{ok = 0, failed = 0, worst_ok = 0, worst = 0},
                 {ok = 0, failed = 0, worst_ok = 0, worst = 0}}
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local n = {}
    for each in string.gmatch(all[i + 1], '%S+') do n[#n + 1] = tonumber(each) end
    local age = math.abs(now - n[1])
    if age > op.window then redis.call('HDEL', key, all[i]) end
    for which, span in ipairs(spans) do
      local ok, failed = n[2 * which], n[2 * which + 1]
      if age <= op.window / (which == 1 and 1 or 10) then
        span.ok, span.failed = span.ok + ok, span.failed + failed
        if failed > span.worst then span.worst, span.worst_ok = failed, ok end
      end
    end
  end
  return spans
end

local function judge(it, op)
  if it.state ~= 'closed' then return end
  local spans, rules = counted(it, op), op.rules
  it.good_calls = spans[1].ok
  if not rules then return end
  it.uneasy = 0
  for _, span in ipairs(spans) do
    local all, failed = span.ok + span.failed, span.failed
    local others, fail_there = all - span.worst - span.worst_ok, failed - span.worst
    if failed > 0 and 2 * failed >= rules.share * all then it.uneasy = 1 end
    -- One sick worker alone: the others see what it sees, or nothing happens to them.
    local agreed = workers <= 1 or (fail_there > 0 and fail_there >= rules.share * others)
    if failed >= rules.threshold and failed >= rules.share * all and agreed then
      it.told = string.format('%d of %d calls failed', failed, all)
      open(it, rules)
      return
    end
  end
end

local function told(it, op)
  if op.pace then it.pace = math.max(it.pace, now + op.pace) end
  redis.call('ZREM', it.key .. ':busy', op.id)
  if op.outcome == 'unused' and op.every then it.tat = it.tat - op.every end
  if op.outcome == 'unused' and op.again then it.debt = math.max(0, it.debt - 1) end
  -- What is no probe any more has nothing to say of this opening.
  if redis.call('ZREM', it.key .. ':probes', op.id) == 0 or not op.rules then return end
  if it.state ~= 'half_open' then return end
  if op.outcome == 'failed' then
    it.told = 'a probe failed'
    open(it, op.rules)
  elseif op.outcome == 'ok' then
    it.good = it.good + 1
    if it.good >= op.rules.probes then
      it.openings, it.told = 0, string.format('%d probes went well', it.good)
      become(it, 'closed', 0)
    end
  end
end

local function taken(key, ends, id)
  redis.call('ZADD', key, ends, id)
  redis.call('EXPIRE', key, DAY)
end

local function under_way(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  return redis.call('ZCARD', key)
end

-- A try after the first is paid from what the tool's good calls earn, and a little more. What was
-- paid is a debt that earnings wear off. Returns for how long it has to wait for its turn, or nil.
local function unpaid(it, again)
  local earns = again.floor + again.share * it.good_calls
  local over = it.debt - math.max(0, now - it.debt_at) * earns
  it.debt, it.debt_at = math.max(0, over), now
  over = it.debt + 1 - math.max(1, again.kept * earns)
  if over <= 0.000001 then return nil end
  it.again_line = math.min(math.max(it.again_line, now + over / earns), now + LONGEST_TURN)
  local wait = it.again_line - now
  it.again_line = it.again_line + 1 / earns
  return wait
end

-- Everything is looked at before anything is taken. Returns what refuses it, and for how long.
local function ask(it, op)
  local probe, at = false, now
  if it.pace > now then return 'rate', it.pace - now end
  if op.rules and it.state == 'open' then
    if now < it.untl then return 'breaker', it.untl - now end
    it.told = 'its time is up'
    become(it, 'half_open', 0)
  end
  if op.rules and it.state == 'half_open' then
    if under_way(it.key .. ':probes') >= op.rules.probes then return 'breaker', HALF_OPEN end
    probe = true
  end
  if op.at_once and under_way(it.key .. ':busy') >= op.at_once then return 'busy', 0 end
  if op.again then
    local wait = unpaid(it, op.again)
    if wait then return 'again', wait end
  end
  if op.every then
    it.tat = math.max(it.tat, now)
    at = math.max(now, it.tat - (op.burst - 1) * op.every)
    if at - now > op.book then  -- too long to wait for here: come back when it is your turn
      it.line = math.max(it.line, at)
      local wait = it.line - now
      it.line = it.line + op.every
      return 'rate', wait
    end
    it.tat = it.tat + op.every
  end
  if op.again then it.debt = it.debt + 1 end
  local ends = at + op.lease
  if probe then taken(it.key .. ':probes', ends, op.id) end
  if op.at_once then taken(it.key .. ':busy', ends, op.id) end
  return nil, at - now
end

local answers = {}
for n, op in ipairs(said.ops) do
  local it = load(op)
  local refused, wait = nil, 0
  if op.do_ == 'tell' then told(it, op) end
  if op.counts then judge(it, op) end
  if op.do_ == 'ask' then refused, wait = ask(it, op) end
  save(it)
  answers[n] = {
    refused = refused or '', wait = wait, state = it.state, epoch = it.epoch,
    left = math.max(0, it.untl - now), openings = it.openings, uneasy = it.uneasy,
    pace = math.max(0, it.pace - now), workers = workers, changed = it.changed, told = it.told,
  }
end
return cjson.encode(answers)
