// The scheduler of the emulator, and its doors for Rust.
#include "emu.h"

#include <cstdio>
#include <cstdlib>

#include "switch.h"

namespace emu {

thread_local Machine* machine = nullptr;
Entry* Entry::first = nullptr;

namespace {

constexpr size_t STACK = 64 * 1024;
// Stacks below the first that nobody uses: an overflow of the first thread runs into them and is found, too.
constexpr size_t SPARE = 4;
constexpr uint64_t CANARY = 0x5AFEC0DE5AFEC0DEull;
constexpr size_t GUARD = 64;
constexpr uint8_t GUARD_BYTE = 0xA5;

// In which order blocks, warps and lanes run.
struct Order {
    uint32_t kind; // 0 forward, 1 reverse, else a seed
    uint64_t state;
    uint32_t random() {
        uint64_t z = (state += 0x9E3779B97F4A7C15ull);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return static_cast<uint32_t>((z ^ (z >> 31)) >> 32);
    }
    void fill(uint32_t* to, uint32_t count) {
        for (uint32_t i = 0; i < count; ++i) to[i] = kind == 1 ? count - 1 - i : i;
        if (kind < 2) return;
        for (uint32_t i = count; i > 1; --i) std::swap(to[i - 1], to[random() % i]);
    }
};

struct Session {
    Machine machine;
    Buffer* buffers;
    uint32_t count, room;
    char* stacks;
    uint32_t launches;
};

void copy_name(char* to, size_t room, const char* from) {
    // The end of a path says most.
    size_t len = std::strlen(from);
    const char* start = from;
    int slashes = 0;
    for (const char* p = from + len; p != from; --p)
        if (*p == '/' && ++slashes == 2) {
            start = p + 1;
            break;
        }
    std::snprintf(to, room, "%s", start);
}

// A fault that is not the running thread's.
void report(Machine& m, Fault fault, uint32_t thread, At at, uint32_t other, int32_t other_line, int64_t index, uint64_t length) {
    if (m.failed) return;
    m.failed = true;
    Report& r = *m.report;
    r = Report{static_cast<int32_t>(fault), m.block, thread, at.line, other, other_line, index, length, {}};
    copy_name(r.file, sizeof r.file, at.file ? at.file : "");
}

void fibre_main() {
    Machine& m = *machine;
    m.entry(m);
    Fibre& f = m.fibres[m.tid];
    f.state = State::Done;
    shoal_emu_switch(&f.stack_pointer, m.scheduler);
    __builtin_unreachable(); // a fibre that is done is not run
}

char* stack_of(Session& s, uint32_t thread) { return s.stacks + STACK * (thread + SPARE); }

// Runs a thread until it waits or ends.
void resume(Session& s, uint32_t thread) {
    Machine& m = s.machine;
    m.tid = thread;
    m.warp = thread / WARP;
    shoal_emu_switch(&m.scheduler, m.fibres[thread].stack_pointer);
    uint64_t canary;
    std::memcpy(&canary, stack_of(s, thread), sizeof canary);
    if (canary != CANARY) report(m, Fault::StackOverflow, thread, m.fibres[thread].at, NOBODY, 0, STACK, STACK);
}

bool same_place(const Fibre& a, const Fibre& b) {
    return a.at.line == b.at.line && a.meeting == b.meeting && std::strcmp(a.at.file, b.at.file) == 0;
}

// Run-ahead: a warp goes on until all of it waits for the block or has ended. A missing barrier then shows, where taking turns thread
// by thread would hide it.
void run_warp(Session& s, uint32_t warp, Order& order) {
    Machine& m = s.machine;
    for (;;) {
        uint32_t lanes[WARP];
        order.fill(lanes, WARP);
        for (uint32_t lane : lanes) {
            const uint32_t thread = warp * WARP + lane;
            if (m.fibres[thread].state == State::Ready) resume(s, thread);
            if (m.failed) return;
        }
        uint32_t waiting = NOBODY, elsewhere = NOBODY;
        for (uint32_t lane = 0; lane < WARP; ++lane) {
            const uint32_t thread = warp * WARP + lane;
            if (m.fibres[thread].state == State::AtWarp) waiting = waiting == NOBODY ? thread : waiting;
            else elsewhere = elsewhere == NOBODY ? thread : elsewhere;
        }
        if (waiting == NOBODY) return;
        const Fibre& first = m.fibres[waiting];
        if (elsewhere != NOBODY)
            return report(m, Fault::PartialWarp, waiting, first.at, elsewhere, m.fibres[elsewhere].at.line, 0, 0);
        for (uint32_t lane = 1; lane < WARP; ++lane) {
            const Fibre& f = m.fibres[warp * WARP + lane];
            if (!same_place(first, f))
                return report(m, Fault::DifferentLines, waiting, first.at, warp * WARP + lane, f.at.line, 0, 0);
        }
        if (first.meeting == Meeting::Barrier) m.warp_since[warp] = ++m.clock;
        for (uint32_t lane = 0; lane < WARP; ++lane) m.fibres[warp * WARP + lane].state = State::Ready;
    }
}

void new_time(Machine& m) {
    m.block_since = ++m.clock;
    for (uint32_t& w : m.warp_since) w = m.clock;
}

void run_block(Session& s, Order& order) {
    Machine& m = s.machine;
    new_time(m);
    m.block_start = m.clock;
    // NaN: what is read before it is written should also look wrong.
    if (m.arena_bytes) std::memset(m.arena, 0xFF, m.arena_bytes);
    std::memset(m.statics, 0xFF, STATIC_BYTES);
    for (uint32_t t = 0; t < m.threads; ++t) {
        char* stack = stack_of(s, t);
        std::memcpy(stack, &CANARY, sizeof CANARY);
        m.fibres[t] = Fibre{emu_new_stack(stack + STACK, fibre_main), At{"", 0}, State::Ready, Meeting::Barrier, 0, 0};
    }
    const uint32_t warps = m.threads / WARP;
    for (;;) {
        uint32_t places[MOST_THREADS / WARP];
        order.fill(places, warps);
        for (uint32_t w = 0; w < warps; ++w) {
            run_warp(s, places[w], order);
            if (m.failed) return;
        }
        uint32_t waiting = NOBODY, done = NOBODY;
        for (uint32_t t = 0; t < m.threads; ++t) {
            uint32_t& place = m.fibres[t].state == State::Done ? done : waiting;
            place = place == NOBODY ? t : place;
        }
        if (waiting == NOBODY) return;
        const Fibre& first = m.fibres[waiting];
        if (done != NOBODY) return report(m, Fault::DivergentBarrier, waiting, first.at, done, m.fibres[done].at.line, 0, 0);
        for (uint32_t t = 0; t < m.threads; ++t) {
            const Fibre& f = m.fibres[t];
            if (!same_place(first, f)) return report(m, Fault::DifferentLines, waiting, first.at, t, f.at.line, 0, 0);
        }
        new_time(m);
        for (uint32_t t = 0; t < m.threads; ++t) m.fibres[t].state = State::Ready;
    }
}

bool guards_hold(const Buffer& b) {
    const size_t bytes = static_cast<size_t>(b.elements) * b.size;
    for (size_t i = 0; i < GUARD; ++i)
        if (b.memory[i] != GUARD_BYTE || b.data[bytes + i] != GUARD_BYTE) return false;
    return true;
}

} // namespace

void fail(Fault fault, At at, uint32_t other, int32_t other_line, int64_t index, uint64_t length) {
    Machine& m = *machine;
    report(m, fault, m.tid, at, other, other_line, index, length);
    m.fibres[m.tid].state = State::Done;
    shoal_emu_switch(&m.fibres[m.tid].stack_pointer, m.scheduler);
    __builtin_unreachable(); // a launch that failed runs no more
}

void meet(State where, Meeting meeting, At at) {
    Machine& m = *machine;
    Fibre& f = m.fibres[m.tid];
    f.at = at;
    f.meeting = meeting;
    f.state = where;
    shoal_emu_switch(&f.stack_pointer, m.scheduler);
}

} // namespace emu

using namespace emu;

// The files of entries.
#define EMU_UNITS(X) X(probes) X(faults) X(conv) X(selective) X(ssd) X(mamba3) X(tensor)
#define EMU_DECLARE(name) extern "C" const int emu_unit_##name;
EMU_UNITS(EMU_DECLARE)

extern "C" {

// How many files of entries there are; naming them keeps them in the program.
int32_t shoal_emu_units() {
#define EMU_COUNT(name) +emu_unit_##name
    return 0 EMU_UNITS(EMU_COUNT);
}

void shoal_emu_close(void* session) {
    Session* s = static_cast<Session*>(session);
    for (uint32_t i = 0; i < s->count; ++i) {
        std::free(s->buffers[i].memory);
        std::free(s->buffers[i].cells);
    }
    std::free(s->buffers);
    std::free(s->stacks);
    std::free(s->machine.statics);
    std::free(s->machine.static_cells);
    std::free(s);
}

// A device without buffers, or null without memory.
void* shoal_emu_open() {
    Session* s = static_cast<Session*>(std::calloc(1, sizeof(Session)));
    if (!s) return nullptr;
    s->stacks = static_cast<char*>(std::malloc(STACK * (MOST_THREADS + SPARE)));
    s->machine.statics = static_cast<uint8_t*>(std::malloc(STATIC_BYTES));
    s->machine.static_cells = static_cast<Cell*>(std::calloc(STATIC_BYTES / 4, sizeof(Cell)));
    s->launches = 1;
    if (s->stacks && s->machine.statics && s->machine.static_cells) return s;
    shoal_emu_close(s);
    return nullptr;
}

// A buffer of `elements` of `size` bytes: a copy of `data`, or not yet written. Its number, or -1 without memory.
int32_t shoal_emu_buffer(void* session, uint32_t elements, uint32_t size, const void* data) {
    Session* s = static_cast<Session*>(session);
    if (s->count == s->room) {
        const uint32_t room = s->room ? 2 * s->room : 16;
        Buffer* more = static_cast<Buffer*>(std::realloc(s->buffers, room * sizeof(Buffer)));
        if (!more) return -1;
        s->buffers = more;
        s->room = room;
    }
    const size_t bytes = static_cast<size_t>(elements) * size;
    Buffer b;
    b.memory = static_cast<uint8_t*>(std::malloc(bytes + 2 * GUARD));
    b.cells = static_cast<Cell*>(std::calloc(elements ? elements : 1, sizeof(Cell)));
    if (!b.memory || !b.cells) {
        std::free(b.memory);
        std::free(b.cells);
        return -1;
    }
    b.data = b.memory + GUARD;
    b.elements = elements;
    b.size = size;
    std::memset(b.memory, GUARD_BYTE, GUARD);
    std::memset(b.data + bytes, GUARD_BYTE, GUARD);
    if (data) {
        std::memcpy(b.data, data, bytes);
        for (uint32_t i = 0; i < elements; ++i) b.cells[i].written = 1;
    } else {
        std::memset(b.data, 0xFF, bytes);
    }
    s->buffers[s->count] = b;
    return static_cast<int32_t>(s->count++);
}

// Copies a buffer out.
void shoal_emu_read(void* session, int32_t buffer, void* to) {
    const Buffer& b = static_cast<Session*>(session)->buffers[buffer];
    std::memcpy(to, b.data, static_cast<size_t>(b.elements) * b.size);
}

// Name of entry `i`, or null.
const char* shoal_emu_entry(uint32_t i) {
    Entry* e = Entry::first;
    while (e && i--) e = e->next;
    return e ? e->name : nullptr;
}

// Bytes of an entry's structure of arguments and of an element of each buffer, and how many numbers that are; null for no entry.
const uint32_t* shoal_emu_sizes(const char* entry, uint32_t* count) {
    Entry* e = Entry::first;
    while (e && std::strcmp(e->name, entry) != 0) e = e->next;
    if (!e) return nullptr;
    *count = e->parameters;
    return e->sizes;
}

// Runs all blocks of a launch. `buffers`: numbers of buffers, -1 for none. Without `check_races` what races give is left to the order.
// Returns 0, or the fault, which `report` describes.
int32_t shoal_emu_launch(void* session, const char* entry, uint32_t grid, uint32_t threads, uint32_t shared_bytes, const void* args,
                         uint32_t args_bytes, const int32_t* buffers, uint32_t count, uint32_t order_kind,
                         uint32_t check_races,
                         Report* out) {
    Session* s = static_cast<Session*>(session);
    Machine& m = s->machine;
    *out = Report{};
    m.report = out;
    m.failed = false;
    m.block = 0;
    m.check_races = check_races != 0;
    Entry* e = Entry::first;
    while (e && std::strcmp(e->name, entry) != 0) e = e->next;
    if (!e) {
        report(m, Fault::UnknownEntry, 0, At{"", 0}, NOBODY, 0, 0, 0);
        return out->fault;
    }
    constexpr uint32_t MOST_BUFFERS = 64;
    if (threads == 0 || threads % WARP || threads > MOST_THREADS || shared_bytes % 4 || count > MOST_BUFFERS) {
        report(m, Fault::BadLaunch, 0, At{"", 0}, NOBODY, 0, threads, MOST_THREADS);
        return out->fault;
    }
    Buffer* places[MOST_BUFFERS];
    for (uint32_t i = 0; i < count; ++i) places[i] = buffers[i] < 0 ? nullptr : &s->buffers[buffers[i]];
    m.buffers = places;
    m.buffer_count = count;
    m.args = args;
    m.args_bytes = args_bytes;
    m.entry = e->run;
    m.grid = grid;
    m.threads = threads;
    m.launch = ++s->launches;
    m.arena_bytes = shared_bytes;
    m.arena = static_cast<uint8_t*>(std::malloc(shared_bytes ? shared_bytes : 4));
    m.arena_cells = static_cast<Cell*>(std::calloc(shared_bytes / 4 + 1, sizeof(Cell)));
    uint32_t* blocks = static_cast<uint32_t*>(std::malloc(sizeof(uint32_t) * (grid + 1)));
    if (!m.arena || !m.arena_cells || !blocks) report(m, Fault::NoMemory, 0, At{"", 0}, NOBODY, 0, shared_bytes, grid);
    Order order{order_kind, order_kind};
    if (blocks) order.fill(blocks, grid);
    Machine* before = machine;
    machine = &m;
    for (uint32_t i = 0; i < grid && !m.failed; ++i) {
        m.block = blocks[i];
        run_block(*s, order);
    }
    machine = before;
    for (uint32_t i = 0; i < count && !m.failed; ++i)
        if (places[i] && !guards_hold(*places[i])) report(m, Fault::GuardZone, 0, At{"", 0}, NOBODY, 0, i + 1, 0);
    std::free(m.arena);
    std::free(m.arena_cells);
    std::free(blocks);
    return out->fault;
}

} // extern "C"
