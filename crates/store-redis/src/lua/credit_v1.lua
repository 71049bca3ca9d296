#!lua name=farebox_credit_v1
-- The credit engine: one account, its caps, its holds and its outbox, each act one function call.
--
-- KEYS   one: the shard's tag `{cNN}`. All other keys are made from it and share its hash slot.
--   tag:ep            string  epoch|sealed|run_id|old       old = 1: holds of earlier epochs may be left
--   tag:as            set     accounts that were ever loaded here
--   tag:a:<account>   hash    s  epoch|balance|reserved|version|debit_seq|credit_seq|granted|frozen
--                             y  unit|allowance|month|used|in_flight|list_price   (own-key calls; unit r, l)
--                             <cap id>  limit|period|window|used|reserved        (period n, d, w, m)
--   tag:h:<hold>      string  o|account|amount|metered|ticket|month|cap=window,…|owner   while open,
--                             then s|charge, r|0 or x|charge for an hour (settled, released, swept)
--   tag:x             zset    open holds by the millisecond at which the sweeper may settle them
--   tag:out           stream  m  epoch|hold|kind|account|charge|uncollected|held|list_price|ticket|month|
--                                balance|debit_seq|credit_seq|cap=window,…     r  the record
-- <hold> is <generation>:<funding>; ids are 32 hex digits; amounts are whole nano-dollars.
--
-- ARGS   first always the epoch the caller believes in; then
--   reserve  hold account want least ttl_ms c|k owner cap…   OK|granted|available|ticket|version|cap=window…
--            DUP|amount  CLOSED  MISSING  FROZEN  UNIT  NOCAP|id  CAP|id|limit|used|reserved|period
--            FUNDS|available|balance|reserved
--   extend   hold account extra metered ttl_ms               OK|amount  REFUSED|available  NOHOLD  MISSING
--   settle   hold account amount list_price record           OK|charge|uncollected|balance|version
--   release  hold account                                    the same; both: DONE|kind|charge NOHOLD MISSING
--   sweep    limit                                           OK|settled
--   credit   account seq delta 0|1 (grant)                   OK|balance|version  DUP  GAP|have  MISSING
--   load     account balance credit_seq debit_seq granted frozen unit allowance month used list_price
--            (id limit period window used)…                  OK|version  EXISTS
--   limit    account id limit period window used             OK|version  MISSING
--   freeze   account 0|1                                     OK|version  MISSING
--   balance  account                                         OK|balance|reserved|granted|credit|debit|frozen
--   caps     account id…                                     OK|id|limit|period|window|used|reserved|…
--   trim     first id to keep                                OK
--   seal, open                                               OK
--   status (no epoch)                                        OK|epoch|sealed
--   audit account… (no epoch)                                for each: its id, sum of its holds, its hash
-- All may answer NOEPOCH, OTHER|epoch (opened on another process), STALE|epoch, SEALED|epoch, BADARG, RANGE.
--
-- INVARIANTS
--   Everything is checked before the first write, and no write can fail after the first one.
--   reserved of an account is the sum of its open holds; of a cap, of those that name its window.
--   A hold leaves exactly one outbox entry, or none when it was released before anything was metered.
--   balance = loaded + credits - charges; available never falls below zero by a reserve or an extend.
--   Windows only roll forward. Every amount stays within +-(2^53 - 1), which Lua's doubles hold exactly.
--   Numbers are printed by %d only: exact up to 2^53 on 64-bit machines, and never "-0" or an exponent.

local MAXN = 9007199254740991
local TOMBSTONE_MS = '3600000'
local PUT_OFF_MS = 60000
local SWEEP_MAX = 1000
-- Loose patterns are a third faster than exact ones, and only this library writes what they read.
local HOLD = '^o|([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]*)|(.*)$'
local ACCOUNT = '^([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)$'
local CAP = '^([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)$'
local BYOK = '^([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)|([^|]+)$'
local CAP_WINDOW = '([^=,]+)=(%d+)'

-- What this process is; a process never changes it, and a reloaded library asks again.
local process
-- The last epoch text of each shard, taken apart.
local epochs = {}

-- A library sees no globals while it is loaded; the first act of all binds what is used often.
local call, format, match, find, num, floor, min, max, concat
local function bind()
  call, format, match, find, num = redis.call, string.format, string.match, string.find, tonumber
  floor, min, max, concat = math.floor, math.min, math.max, table.concat
end

local function amount(text)
  if #text > 16 or not find(text, '^%d+$') then return nil end
  local n = num(text)
  if n > MAXN then return nil end
  return n
end

local function signed(text)
  if string.sub(text, 1, 1) ~= '-' then return amount(text) end
  local n = amount(string.sub(text, 2))
  return n and 0 - n
end

local function in_range(n) return n >= -MAXN and n <= MAXN end

-- The shard's epoch, nil without one. Every act begins here, so here is also what is done once.
local function read_epoch(tag)
  if not process then
    bind()
    process = match(call('INFO', 'server'), 'run_id:(%x+)')
  end
  local text = call('GET', tag .. ':ep')
  if not text then return nil end
  local e = epochs[tag]
  if not e or e.text ~= text then
    local epoch, sealed, owner, old = match(text, '^(%d+)|([01])|(%x+)|([01])$')
    e = { text = text, epoch = epoch, sealed = sealed == '1', owner = owner, old = old == '1' }
    epochs[tag] = e
  end
  return e
end

-- An epoch belongs to one life of one process: a promoted replica or a restarted server carries the number
-- of a life that is over, and must serve nobody until a new epoch is opened on it.
local function gate(tag, epoch, while_sealed)
  local e = read_epoch(tag)
  if not e then return 'NOEPOCH' end
  if e.owner ~= process then return 'OTHER|' .. e.epoch end
  if e.epoch ~= epoch then return 'STALE|' .. e.epoch end
  if e.sealed and not while_sealed then return 'SEALED|' .. e.epoch end
  return nil, e.old
end

-- Year * 12 + month - 1 of a day since 1970 (Hinnant's civil_from_days).
local function month_of(day)
  local z = day + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local shifted = floor((5 * doy + 2) / 153)
  return (yoe + era * 400) * 12 + shifted + 2
end

-- The windows of the day of the last look at the clock, by period: as numbers and as texts.
local today, window_numbers, window_texts

-- Milliseconds since 1970 by Redis' clock, the only one; from here on the windows are those of now.
local function clock()
  local time = call('TIME')
  local seconds = num(time[1])
  local day = floor(seconds / 86400)
  if day ~= today then
    local week, month = floor((day + 3) / 7), month_of(day)
    today, window_numbers = day, { n = 0, d = day, w = week, m = month }
    window_texts = { n = '0', d = format('%d', day), w = format('%d', week), m = format('%d', month) }
  end
  return seconds * 1000 + floor(num(time[2]) / 1000)
end

local function read_account(text, epoch)
  if not text then return nil end
  local of, bal, rsv, ver, dseq, cseq, granted, frozen = match(text, ACCOUNT)
  if of ~= epoch then return nil end
  return {
    bal = num(bal), rsv = num(rsv), ver = num(ver), dseq = num(dseq),
    cseq = num(cseq), granted = num(granted), frozen = frozen,
  }
end

-- The one place that writes an account's state counts its version.
local function write_account(a, epoch)
  a.ver = a.ver + 1
  return format('%s|%d|%d|%d|%d|%d|%d|%s', epoch, a.bal, a.rsv, a.ver, a.dseq, a.cseq, a.granted, a.frozen)
end

local function read_cap(text)
  if not text then return nil end
  local limit, period, window, used, rsv = match(text, CAP)
  return {
    limit = num(limit), period = period, window = window, used = num(used), rsv = num(rsv),
  }
end

local function write_cap(c)
  return format('%d|%s|%s|%d|%d', c.limit, c.period, c.window, c.used, c.rsv)
end

-- Never backward: a clock that steps back over midnight must not reopen a spent window.
local function roll(cap)
  local window = window_texts[cap.period]
  if cap.window == window or num(cap.window) > window_numbers[cap.period] then return end
  cap.window, cap.used, cap.rsv = window, 0, 0
end

local function read_byok(text)
  local unit, allowance, month, used, in_flight, list = match(text, BYOK)
  return {
    unit = unit, allowance = num(allowance), month = num(month), used = num(used),
    in_flight = num(in_flight), list = num(list),
  }
end

local function write_byok(y)
  return format('%s|%d|%d|%d|%d|%d', y.unit, y.allowance, y.month, y.used, y.in_flight, y.list)
end

local function read_hold(text)
  local account, held, metered, ticket, month, windows, owner = match(text, HOLD)
  if not account then return nil end
  return {
    account = account, held = num(held), metered = num(metered), ticket = ticket, month = month,
    windows = windows, owner = owner,
  }
end

local function write_hold(h)
  return format('o|%s|%d|%d|%s|%s|%s|%s', h.account, h.held, h.metered, h.ticket, h.month, h.windows, h.owner)
end

local function cap_windows(text)
  local ids, windows, n = {}, {}, 0
  for id, window in string.gmatch(text, CAP_WINDOW) do
    n = n + 1
    ids[n], windows[n] = id, window
  end
  return ids, windows, n
end

local function roll_byok(y)
  local month = window_numbers.m
  if month > y.month then y.month, y.used, y.in_flight, y.list = month, 0, 0, 0 end
end

-- Takes a ticket of the month's allowance: free while used + in flight is below it.
local function take_ticket(y)
  roll_byok(y)
  if y.used + y.in_flight >= y.allowance then return 'p' end
  y.in_flight = y.in_flight + 1
  return 'f'
end

local function reserve(keys, a)
  local tag, epoch = keys[1], a[1]
  local refused = gate(tag, epoch)
  if refused then return refused end
  local want, least, ttl, owner = amount(a[4]), amount(a[5]), amount(a[6]), a[8]
  if not want or not least or not ttl or least > want or ttl == 0 then return 'BADARG' end
  local hold_key = tag .. ':h:' .. a[2]
  local before = call('GET', hold_key)
  if before then return match(before, '^o') and 'DUP|' .. match(before, '^o|%x+|(%d+)') or 'CLOSED' end
  local account_key = tag .. ':a:' .. a[3]
  local row = call('HMGET', account_key, 's', 'y', unpack(a, 9))
  local account = read_account(row[1], epoch)
  if not account then return 'MISSING' end
  if account.frozen == '1' then return 'FROZEN' end
  local now = clock()
  local ticket, month, byok = 'n', 0, nil
  if a[7] == 'k' then
    byok = read_byok(row[2])
    if byok.unit ~= 'r' then return 'UNIT' end
    ticket = take_ticket(byok)
    month = byok.month
    if ticket == 'f' then want, least = 0, 0 end
  end
  local available = account.bal - account.rsv
  local granted, caps = want, {}
  for i = 9, #a do
    local id, cap = a[i], read_cap(row[i - 6])
    if not cap then return 'NOCAP|' .. id end
    if caps[id] then return 'BADARG' end
    roll(cap)
    local rest = cap.limit - cap.used - cap.rsv
    if least > 0 and rest < least then
      return format('CAP|%s|%d|%d|%d|%s', id, cap.limit, cap.used, cap.rsv, cap.period)
    end
    granted = min(granted, rest)
    caps[id] = cap
  end
  if least > 0 and available < least then
    return format('FUNDS|%d|%d|%d', available, account.bal, account.rsv)
  end
  granted = max(0, min(granted, available))
  account.rsv = account.rsv + granted
  local set, named = { 's', write_account(account, epoch) }, {}
  for i = 9, #a do
    local cap, n = caps[a[i]], i - 8
    cap.rsv = cap.rsv + granted
    set[n * 2 + 1], set[n * 2 + 2] = a[i], write_cap(cap)
    named[n] = a[i] .. '=' .. cap.window
  end
  if byok then
    set[#set + 1] = 'y'
    set[#set + 1] = write_byok(byok)
  end
  local hold = {
    account = a[3], held = granted, metered = 0, ticket = ticket, month = month,
    windows = concat(named, ','), owner = owner,
  }
  call('ZADD', tag .. ':x', format('%d', now + ttl), a[2])
  call('SET', hold_key, write_hold(hold))
  call('HSET', account_key, unpack(set))
  return format('OK|%d|%d|%s|%d|%s', granted, available - granted, ticket, account.ver, hold.windows)
end

-- Whether a hold can grow by `extra`; counts it in account and caps when it can. Where a cap has rolled on,
-- the whole hold moves to the new window, for growth must count somewhere.
local function grow(hold, account, row, extra, set)
  if account.frozen == '1' or account.bal - account.rsv < extra then return false end
  local ids, windows, n = cap_windows(hold.windows)
  local named = {}
  for i = 1, n do
    local cap = read_cap(row[i + 1])
    if not cap then return false end
    local more = cap.window == windows[i] and extra or hold.held + extra
    if cap.limit - cap.used - cap.rsv < more then return false end
    cap.rsv = cap.rsv + more
    set[#set + 1] = ids[i]
    set[#set + 1] = write_cap(cap)
    named[i] = ids[i] .. '=' .. cap.window
  end
  hold.held, hold.windows = hold.held + extra, concat(named, ',')
  account.rsv = account.rsv + extra
  return true
end

local function extend(keys, a)
  local tag, epoch = keys[1], a[1]
  local refused = gate(tag, epoch)
  if refused then return refused end
  local extra, metered, ttl = amount(a[4]), amount(a[5]), amount(a[6])
  if not extra or not metered or not ttl or ttl == 0 then return 'BADARG' end
  local hold_key, account_key = tag .. ':h:' .. a[2], tag .. ':a:' .. a[3]
  local stored = call('GET', hold_key)
  local hold = stored and read_hold(stored)
  if not hold then return 'NOHOLD' end
  if hold.account ~= a[3] then return 'BADARG' end
  local ids = cap_windows(hold.windows)
  local row = call('HMGET', account_key, 's', unpack(ids))
  local account = read_account(row[1], epoch)
  if not account then return 'MISSING' end
  -- A free ticket holds no money, however much it meters.
  if hold.ticket == 'f' then extra = 0 end
  local set = {}
  local fits = extra == 0 or grow(hold, account, row, extra, set)
  local grown = fits and extra > 0
  call('ZADD', tag .. ':x', 'XX', format('%d', clock() + ttl), a[2])
  if grown or metered > hold.metered then
    hold.metered = max(hold.metered, metered)
    call('SET', hold_key, write_hold(hold))
  end
  if grown then call('HSET', account_key, 's', write_account(account, epoch), unpack(set)) end
  if fits then return format('OK|%d', hold.held) end
  return format('REFUSED|%d', account.bal - account.rsv)
end

-- Ends the ticket of an own-key hold: whether it turned out free, and what the ledger is told of it.
local function end_ticket(hold, y, back, list)
  local free = hold.ticket == 'f'
  if num(hold.month) == y.month then
    if free then y.in_flight = y.in_flight - 1 end
    if not back then
      -- A paid ticket whose turn comes while allowance is left costs nothing.
      free = free or y.used + y.in_flight < y.allowance
      y.used = y.used + 1
      y.list = min(MAXN, y.list + list)
    end
  end
  return free, back and 'n' or free and 'f' or 'p'
end

-- The closing step of settle (s), release (r) and sweep (x).
local function close(tag, epoch, id, of, how, due, list, record)
  local hold_key = tag .. ':h:' .. id
  local stored = call('GET', hold_key)
  if not stored then return 'NOHOLD' end
  local hold = read_hold(stored)
  if not hold then return 'DONE|' .. stored end
  if of and of ~= hold.account then return 'BADARG' end
  local account_key, held = tag .. ':a:' .. hold.account, hold.held
  local ids, windows, n = cap_windows(hold.windows)
  local row = call('HMGET', account_key, 's', 'y', unpack(ids))
  local account = read_account(row[1], epoch)
  if not account then return 'MISSING' end
  local kind, back = how, how == 'r'
  if how == 'x' then
    due = min(hold.metered, held)
    list, record = hold.ticket == 'n' and due or 0, 'sweep:' .. hold.owner
  elseif back and hold.metered > 0 then
    -- What was ever metered may have been swept and booked elsewhere: the ledger must hear that it is free.
    kind, record = 's', 'release:' .. hold.owner
  end
  local ticket, byok = 'n', nil
  if hold.ticket ~= 'n' then
    byok = read_byok(row[2])
    local free
    free, ticket = end_ticket(hold, byok, back, list)
    if free then due = 0 end
  end
  -- The hold, and above it what is available and left in every cap. What is left of a window that is past
  -- is not known, so such a cap allows the hold and no more.
  local room = held + max(0, account.bal - account.rsv)
  local caps = {}
  for i = 1, n do
    local cap = read_cap(row[i + 2])
    if cap and cap.window == windows[i] then
      room = min(room, held + max(0, cap.limit - cap.used - cap.rsv))
      caps[i] = cap
    else
      room = min(room, held)
    end
  end
  local charge = min(due, room)
  if not in_range(account.bal - charge) then return 'RANGE' end
  account.rsv = account.rsv - held
  local set = {}
  for i = 1, n do
    local cap = caps[i]
    if cap then
      cap.rsv, cap.used = cap.rsv - held, cap.used + charge
      set[#set + 1] = ids[i]
      set[#set + 1] = write_cap(cap)
    end
  end
  if byok then
    set[#set + 1] = 'y'
    set[#set + 1] = write_byok(byok)
  end
  if kind ~= 'r' then
    local month = ticket == 'n' and '0' or hold.month
    account.bal, account.dseq = account.bal - charge, account.dseq + 1
    local entry = format('%s|%s|%s|%s|%d|%d|%d|%d|%s|%s|%d|%d|%d|%s', epoch, id, kind, hold.account, charge,
      due - charge, held, list, ticket, month, account.bal, account.dseq, account.cseq, hold.windows)
    call('XADD', tag .. ':out', '*', 'm', entry, 'r', record)
  end
  call('HSET', account_key, 's', write_account(account, epoch), unpack(set))
  call('SET', hold_key, format('%s|%d', kind, charge), 'PX', TOMBSTONE_MS)
  call('ZREM', tag .. ':x', id)
  return format('OK|%d|%d|%d|%d', charge, due - charge, account.bal, account.ver)
end

local function settle(keys, a)
  local refused = gate(keys[1], a[1])
  if refused then return refused end
  local due, list = amount(a[4]), amount(a[5])
  if not due or not list then return 'BADARG' end
  return close(keys[1], a[1], a[2], a[3], 's', due, list, a[6])
end

local function release(keys, a)
  local refused = gate(keys[1], a[1])
  if refused then return refused end
  return close(keys[1], a[1], a[2], a[3], 'r', 0, 0, '')
end

-- A hold whose account is not loaded waits: settling it would make a balance out of nothing.
local function sweep(keys, a)
  local tag = keys[1]
  local refused = gate(tag, a[1])
  if refused then return refused end
  local limit = amount(a[2])
  if not limit then return 'BADARG' end
  local now = clock()
  local expiry, settled = tag .. ':x', 0
  local due = call('ZRANGEBYSCORE', expiry, '-inf', format('%d', now), 'LIMIT', 0, min(limit, SWEEP_MAX))
  for _, id in ipairs(due) do
    local answer = close(tag, a[1], id, nil, 'x', 0, 0, '')
    if find(answer, '^OK') then
      settled = settled + 1
    elseif find(answer, '^DONE') or answer == 'NOHOLD' then
      call('ZREM', expiry, id)
    else
      call('ZADD', expiry, 'XX', format('%d', now + PUT_OFF_MS), id)
    end
  end
  return format('OK|%d', settled)
end

local function credit(keys, a)
  local tag, epoch = keys[1], a[1]
  local refused = gate(tag, epoch)
  if refused then return refused end
  local seq, delta = amount(a[3]), signed(a[4])
  if not seq or not delta then return 'BADARG' end
  local account_key = tag .. ':a:' .. a[2]
  local account = read_account(call('HGET', account_key, 's'), epoch)
  if not account then return 'MISSING' end
  if seq <= account.cseq then return 'DUP' end
  if seq > account.cseq + 1 then return format('GAP|%d', account.cseq) end
  account.bal, account.cseq = account.bal + delta, seq
  if a[5] == '1' then account.granted = account.granted + delta end
  if not in_range(account.bal) or not in_range(account.granted) then return 'RANGE' end
  call('HSET', account_key, 's', write_account(account, epoch))
  return format('OK|%d|%d', account.bal, account.ver)
end

-- What the open holds of an account hold now: in all, by `cap=window`, and free tickets by month.
local function recount(tag, of)
  local held, by_cap, tickets = 0, {}, {}
  for _, id in ipairs(call('ZRANGE', tag .. ':x', 0, -1)) do
    local stored = call('GET', tag .. ':h:' .. id)
    local hold = stored and read_hold(stored)
    if hold and hold.account == of then
      held = held + hold.held
      for named in string.gmatch(hold.windows, '[^,]+') do
        by_cap[named] = (by_cap[named] or 0) + hold.held
      end
      if hold.ticket == 'f' then tickets[hold.month] = (tickets[hold.month] or 0) + 1 end
    end
  end
  return held, by_cap, tickets
end

local function named(id, cap) return id .. '=' .. cap.window end

-- A cap from five arguments; nil when one of them is not what it should be.
local function cap_from(a, i)
  local limit, window, used = amount(a[i + 1] or ''), amount(a[i + 3] or ''), amount(a[i + 4] or '')
  if not limit or not window or not used then return nil end
  if not find(a[i], '^%l:[%w_.-]+$') or not find(a[i + 2], '^[ndwm]$') then return nil end
  return { limit = limit, period = a[i + 2], window = format('%d', window), used = used, rsv = 0 }
end

local function load(keys, a)
  local tag, epoch = keys[1], a[1]
  local refused, old = gate(tag, epoch, true)
  if refused then return refused end
  local account = {
    bal = signed(a[3]), rsv = 0, ver = 0, cseq = amount(a[4]), dseq = amount(a[5]), granted = signed(a[6]),
    frozen = a[7],
  }
  local byok = {
    unit = a[8], allowance = amount(a[9]), month = amount(a[10]), used = amount(a[11]), in_flight = 0,
    list = amount(a[12]),
  }
  if not account.bal or not account.cseq or not account.dseq or not account.granted then return 'BADARG' end
  if not byok.allowance or not byok.month or not byok.used or not byok.list then return 'BADARG' end
  if not find(a[7], '^[01]$') or not find(a[8], '^[rl]$') or not find(a[2], '^%x+$') then return 'BADARG' end
  local account_key = tag .. ':a:' .. a[2]
  local before = call('HGET', account_key, 's')
  if read_account(before, epoch) then return 'EXISTS' end
  if before then account.ver = num(match(before, '^%d+|%-?%d+|%-?%d+|(%d+)')) end
  -- Only an epoch that was opened over open holds can have holds of an account that is not loaded.
  local by_cap, tickets = {}, {}
  if old then account.rsv, by_cap, tickets = recount(tag, a[2]) end
  -- Rolled before the holds are counted in: they may name a newer window than the ledger's last one.
  clock()
  roll_byok(byok)
  byok.in_flight = tickets[format('%d', byok.month)] or 0
  local set = { 'y', write_byok(byok) }
  for i = 13, #a, 5 do
    local cap = cap_from(a, i)
    if not cap then return 'BADARG' end
    roll(cap)
    cap.rsv = by_cap[named(a[i], cap)] or 0
    set[#set + 1] = a[i]
    set[#set + 1] = write_cap(cap)
  end
  call('DEL', account_key)
  call('HSET', account_key, 's', write_account(account, epoch))
  for i = 1, #set, 100 do call('HSET', account_key, unpack(set, i, min(i + 99, #set))) end
  call('SADD', tag .. ':as', a[2])
  return format('OK|%d', account.ver)
end

local function limit(keys, a)
  local tag, epoch = keys[1], a[1]
  local refused = gate(tag, epoch)
  if refused then return refused end
  local cap = cap_from(a, 3)
  if not cap then return 'BADARG' end
  local account_key = tag .. ':a:' .. a[2]
  local row = call('HMGET', account_key, 's', a[3])
  local account, before = read_account(row[1], epoch), read_cap(row[2])
  if not account then return 'MISSING' end
  if before and before.period == cap.period then
    cap.window, cap.used, cap.rsv = before.window, before.used, before.rsv
  else
    if before then cap.used = 0 end
    clock()
    roll(cap)
    local _, by_cap = recount(tag, a[2])
    cap.rsv = by_cap[named(a[3], cap)] or 0
  end
  call('HSET', account_key, 's', write_account(account, epoch), a[3], write_cap(cap))
  return format('OK|%d', account.ver)
end

local function freeze(keys, a)
  local tag, epoch = keys[1], a[1]
  local refused = gate(tag, epoch)
  if refused then return refused end
  if not find(a[3], '^[01]$') then return 'BADARG' end
  local account_key = tag .. ':a:' .. a[2]
  local account = read_account(call('HGET', account_key, 's'), epoch)
  if not account then return 'MISSING' end
  account.frozen = a[3]
  call('HSET', account_key, 's', write_account(account, epoch))
  return format('OK|%d', account.ver)
end

local function balance(keys, a)
  local refused = gate(keys[1], a[1], true)
  if refused then return refused end
  local s = read_account(call('HGET', keys[1] .. ':a:' .. a[2], 's'), a[1])
  if not s then return 'MISSING' end
  return format('OK|%d|%d|%d|%d|%d|%s', s.bal, s.rsv, s.granted, s.cseq, s.dseq, s.frozen)
end

local function caps(keys, a)
  local refused = gate(keys[1], a[1], true)
  if refused then return refused end
  local row = call('HMGET', keys[1] .. ':a:' .. a[2], 's', unpack(a, 3))
  if not read_account(row[1], a[1]) then return 'MISSING' end
  clock()
  local known = { 'OK' }
  for i = 3, #a do
    local cap = read_cap(row[i - 1])
    if cap then
      roll(cap)
      known[#known + 1] = a[i]
      known[#known + 1] = write_cap(cap)
    end
  end
  return concat(known, '|')
end

local function trim(keys, a)
  local refused = gate(keys[1], a[1], true)
  if refused then return refused end
  if not find(a[2], '^%d+%-%d+$') then return 'BADARG' end
  call('XTRIM', keys[1] .. ':out', 'MINID', a[2])
  return 'OK'
end

local function status(keys)
  local e = read_epoch(keys[1])
  if not e then return 'NOEPOCH' end
  if e.owner ~= process then return 'OTHER|' .. e.epoch end
  return 'OK|' .. e.epoch .. '|' .. (e.sealed and '1' or '0')
end

-- A new epoch, sealed or serving. The current one is opened again only by the process it belongs to, which
-- also ends its seal.
local function begin(keys, a, sealed)
  local tag, e = keys[1], read_epoch(keys[1])
  local epoch = amount(a[1])
  if not epoch or epoch == 0 then return 'BADARG' end
  local old = call('ZCARD', tag .. ':x') > 0
  if e then
    local have = num(e.epoch)
    local again = epoch == have and sealed == '0' and e.owner == process
    if epoch < have or epoch == have and not again then return 'STALE|' .. e.epoch end
    if again then old = e.old end
  end
  call('SET', tag .. ':ep', format('%d|%s|%s|%s', epoch, sealed, process, old and '1' or '0'))
  return 'OK'
end

local function seal(keys, a) return begin(keys, a, '1') end
local function open(keys, a) return begin(keys, a, '0') end

local function audit(keys, a)
  local tag, held = keys[1], {}
  read_epoch(tag)
  for _, id in ipairs(call('ZRANGE', tag .. ':x', 0, -1)) do
    local stored = call('GET', tag .. ':h:' .. id)
    local hold = stored and read_hold(stored)
    if hold then held[hold.account] = (held[hold.account] or 0) + hold.held end
  end
  local answer = {}
  for i, id in ipairs(a) do
    answer[i] = { id, format('%d', held[id] or 0), call('HGETALL', tag .. ':a:' .. id) }
  end
  return answer
end

redis.register_function('fb1_reserve', reserve)
redis.register_function('fb1_extend', extend)
redis.register_function('fb1_settle', settle)
redis.register_function('fb1_release', release)
redis.register_function('fb1_sweep', sweep)
redis.register_function('fb1_credit', credit)
redis.register_function('fb1_load', load)
redis.register_function('fb1_limit', limit)
redis.register_function('fb1_freeze', freeze)
redis.register_function('fb1_trim', trim)
redis.register_function('fb1_seal', seal)
redis.register_function('fb1_open', open)
redis.register_function { function_name = 'fb1_balance', callback = balance, flags = { 'no-writes' } }
redis.register_function { function_name = 'fb1_caps', callback = caps, flags = { 'no-writes' } }
redis.register_function { function_name = 'fb1_status', callback = status, flags = { 'no-writes' } }
redis.register_function { function_name = 'fb1_audit', callback = audit, flags = { 'no-writes' } }
