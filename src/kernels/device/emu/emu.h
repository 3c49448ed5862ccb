// A GPU on the host: one fibre per thread of a block, run in a fixed order, with every access checked.
//
// Global memory never carries a value from one thread of a launch to another, shared memory only across a barrier: both are checked for
// every element at every access, as are bounds and reads of what nobody wrote. A fault stops the launch and is reported; nothing aborts.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace emu {

constexpr uint32_t WARP = 32;
constexpr uint32_t MOST_THREADS = 1024;

// A place in the source: that of the call, wherever it is a default argument.
struct At {
    const char* file;
    int32_t line;
    static constexpr At here(const char* file = __builtin_FILE(), int32_t line = __builtin_LINE()) { return {file, line}; }
};

enum class Fault : int32_t {
    None = 0,
    UnknownEntry,
    BadLaunch,
    DivergentBarrier,
    DifferentLines,
    PartialWarp,
    BadLane,
    OutOfBounds,
    UnwrittenRead,
    Race,
    Assertion,
    StackOverflow,
    GuardZone,
    NoMemory,
};

// What is handed to Rust. `other` is the thread that took part in the fault, if any, and where it was.
struct Report {
    int32_t fault;
    uint32_t block;
    uint32_t thread;
    int32_t line;
    uint32_t other;
    int32_t other_line;
    int64_t index;
    uint64_t length;
    char file[96];
};
static_assert(sizeof(Report) == 136, "mirrored in Rust");

constexpr uint32_t NOBODY = 0xFFFFFFFFu;

// Who touched an element last, and when. Readers: a thread, or WARP_READERS | warp, or MANY.
struct Cell {
    uint32_t writer, written;
    uint32_t reader, read;
    int32_t write_line, read_line;
};
constexpr uint32_t WARP_READERS = 0x80000000u;
constexpr uint32_t MANY = 0xFFFFFFFEu;

struct Buffer {
    uint8_t* memory; // guard zone, data, guard zone
    uint8_t* data;
    Cell* cells;
    uint32_t elements;
    uint32_t size;
};

enum class State : uint8_t { Ready, AtWarp, AtBlock, Done };
enum class Meeting : uint8_t { Barrier, Exchange };

struct Fibre {
    void* stack_pointer;
    At at;
    State state;
    Meeting meeting;
    uint8_t parity;
    uint32_t statics; // bytes of static shared memory taken so far
};

// All there is of a launch. One per host thread at a time; `machine` points to it.
struct Machine {
    uint32_t tid, warp, block, grid, threads;
    // Time: a number that rises at every barrier. What happened before `block_since` is ordered before everything in the block now,
    // what happened before `warp_since[w]` before everything in warp w.
    uint32_t clock, block_start, block_since;
    uint32_t warp_since[MOST_THREADS / WARP];
    uint32_t launch;
    uint8_t* arena;
    Cell* arena_cells;
    uint32_t arena_bytes;
    uint8_t* statics;
    Cell* static_cells;
    uint64_t slots[MOST_THREADS / WARP][2][WARP];
    Fibre fibres[MOST_THREADS];
    const void* args;
    uint32_t args_bytes;
    Buffer* const* buffers;
    uint32_t buffer_count;
    void (*entry)(Machine&);
    void* scheduler;
    Report* report;
    bool failed;
    bool check_races;
};

extern thread_local Machine* machine;
constexpr uint32_t STATIC_BYTES = 48 * 1024;

// Reports a fault of the running thread and ends the launch.
[[noreturn]] void fail(Fault fault, At at, uint32_t other = NOBODY, int32_t other_line = 0, int64_t index = 0, uint64_t length = 0);
// Waits until all threads of the warp or the block are at the same place.
void meet(State where, Meeting meeting, At at);

enum class Space { Global, Shared };

inline void race(At at, uint32_t other, int32_t other_line, int64_t index) {
    if (machine->check_races) fail(Fault::Race, at, other, other_line, index);
}

template <Space S> inline void check_read(Cell& cell, int64_t index, At at) {
    Machine& m = *machine;
    if constexpr (S == Space::Global) {
        const uint32_t self = m.block * m.threads + m.tid;
        if (cell.written == 0) fail(Fault::UnwrittenRead, at, NOBODY, 0, index);
        if (cell.written == m.launch && cell.writer != self) race(at, cell.writer, cell.write_line, index);
        cell.reader = cell.read == m.launch && cell.reader != self ? MANY : self;
        cell.read = m.launch;
    } else {
        if (cell.written < m.block_start) fail(Fault::UnwrittenRead, at, NOBODY, 0, index);
        if (cell.written >= m.block_since && cell.writer != m.tid &&
            !(cell.writer / WARP == m.warp && cell.written < m.warp_since[m.warp]))
            race(at, cell.writer, cell.write_line, index);
        const bool past = cell.read < m.block_since || cell.reader == m.tid;
        const bool same_warp = cell.reader == (WARP_READERS | m.warp) || (cell.reader < MOST_THREADS && cell.reader / WARP == m.warp);
        if (past || (same_warp && cell.read < m.warp_since[m.warp])) cell.reader = m.tid;
        else if (same_warp) cell.reader = WARP_READERS | m.warp;
        else cell.reader = MANY;
        cell.read = m.clock;
    }
    cell.read_line = at.line;
}

template <Space S> inline void check_write(Cell& cell, int64_t index, At at) {
    Machine& m = *machine;
    if constexpr (S == Space::Global) {
        const uint32_t self = m.block * m.threads + m.tid;
        if (cell.written == m.launch && cell.writer != self) race(at, cell.writer, cell.write_line, index);
        if (cell.read == m.launch && cell.reader != self) race(at, cell.reader, cell.read_line, index);
        cell.writer = self;
        cell.written = m.launch;
    } else {
        if (cell.written >= m.block_since && cell.writer != m.tid &&
            !(cell.writer / WARP == m.warp && cell.written < m.warp_since[m.warp]))
            race(at, cell.writer, cell.write_line, index);
        if (cell.read >= m.block_since && cell.reader != m.tid) {
            const bool same_warp = cell.reader == (WARP_READERS | m.warp) || (cell.reader < MOST_THREADS && cell.reader / WARP == m.warp);
            if (!(same_warp && cell.read < m.warp_since[m.warp])) race(at, cell.reader, cell.read_line, index);
        }
        cell.writer = m.tid;
        cell.written = m.clock;
    }
    cell.write_line = at.line;
}

// An index that knows where it was used.
struct Index {
    int64_t value;
    At at;
    template <class I, class = std::enable_if_t<std::is_integral_v<I>>>
    constexpr Index(I i, At where = At::here()) : value(static_cast<int64_t>(i)), at(where) {}
};

// An element: a read or a write is checked when it happens.
template <class T, Space S> struct Ref {
    using Value = std::remove_const_t<T>;
    T* place;
    Cell* cell;
    Index index;
    operator Value() const {
        check_read<S>(*cell, index.value, index.at);
        return *place;
    }
    const Ref& operator=(Value v) const {
        static_assert(!std::is_const_v<T>, "a write to read-only memory");
        check_write<S>(*cell, index.value, index.at);
        *place = v;
        return *this;
    }
    const Ref& operator=(const Ref& from) const { return *this = static_cast<Value>(from); }
    const Ref& operator+=(Value v) const { return *this = static_cast<Value>(*this) + v; }
    const Ref& operator*=(Value v) const { return *this = static_cast<Value>(*this) * v; }
};

// A pointer into device memory that knows its bounds.
template <class T, Space S> struct Ptr {
    T* base = nullptr;
    Cell* cells = nullptr;
    uint32_t length = 0;
    int64_t at = 0;
    Ptr() = default;
    Ptr(T* b, Cell* c, uint32_t n, int64_t a = 0) : base(b), cells(c), length(n), at(a) {}
    // Anything converts to a pointer that only reads.
    template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
    Ptr(const Ptr<U, S>& p) : base(p.base), cells(p.cells), length(p.length), at(p.at) {}
    Ref<T, S> operator[](Index i) const {
        const int64_t index = at + i.value;
        if (index < 0 || index >= static_cast<int64_t>(length)) fail(Fault::OutOfBounds, i.at, NOBODY, 0, index, length);
        return {base + index, cells + index, i};
    }
    Ptr operator+(int64_t by) const { return {base, cells, length, at + by}; }
    // A part of it with bounds of its own.
    Ptr part(int64_t from, uint32_t count, At where) const {
        const int64_t first = at + from;
        if (first < 0 || first + static_cast<int64_t>(count) > static_cast<int64_t>(length))
            fail(Fault::OutOfBounds, where, NOBODY, 0, first + count, length);
        return {base + first, cells + first, count, 0};
    }
    explicit operator bool() const { return base != nullptr; }
};
template <class T> using Global = Ptr<T, Space::Global>;
template <class T> using Shared = Ptr<T, Space::Shared>;

// The dynamic shared memory of the block.
template <class T> inline Shared<T> arena() {
    Machine& m = *machine;
    static_assert(sizeof(T) == 4, "the arena has cells of four bytes");
    return {reinterpret_cast<T*>(m.arena), m.arena_cells, m.arena_bytes / 4};
}

// A static shared array. All threads of a block declare the same ones in the same order.
template <class T> inline Shared<T> declared(uint32_t count, At at = At::here()) {
    Machine& m = *machine;
    static_assert(sizeof(T) <= 4, "an element has a cell");
    Fibre& f = m.fibres[m.tid];
    const uint32_t from = f.statics;
    if (count > (STATIC_BYTES - from) / 4) fail(Fault::OutOfBounds, at, NOBODY, 0, count, STATIC_BYTES / 4);
    f.statics += 4 * count;
    return {reinterpret_cast<T*>(m.statics + from), m.static_cells + from / 4, count};
}

// The value of another lane.
template <class T> inline T exchange(T v, uint32_t source, At at) {
    static_assert(sizeof(T) <= 8, "a slot has eight bytes");
    Machine& m = *machine;
    if (source >= WARP) fail(Fault::BadLane, at, NOBODY, 0, source, WARP);
    Fibre& f = m.fibres[m.tid];
    auto& slots = m.slots[m.warp][f.parity];
    f.parity ^= 1;
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof(T));
    slots[m.tid % WARP] = bits;
    meet(State::AtWarp, Meeting::Exchange, at);
    T out;
    std::memcpy(&out, &slots[source], sizeof(T));
    return out;
}

// Entries: their parameters are taken from the launch by type, the structure of arguments first.
template <class P> struct Bind;
template <class T> struct Bind<Global<T>> {
    static constexpr uint32_t size = sizeof(T);
    static Global<T> from(Machine& m, uint32_t position) {
        Buffer* b = m.buffers[position - 1];
        if (!b) return {};
        if (b->size != sizeof(T)) fail(Fault::BadLaunch, At::here(), NOBODY, 0, position, b->size);
        return {reinterpret_cast<T*>(b->data), b->cells, b->elements};
    }
};
template <class A> struct Bind<const A&> {
    static constexpr uint32_t size = sizeof(A);
    static const A& from(Machine& m, uint32_t position) {
        if (position != 0 || m.args_bytes != sizeof(A)) fail(Fault::BadLaunch, At::here(), NOBODY, 0, m.args_bytes, sizeof(A));
        return *static_cast<const A*>(m.args);
    }
};
template <class... P, size_t... I> inline void call(Machine& m, void (*f)(P...), std::index_sequence<I...>) {
    if (m.buffer_count + 1 != sizeof...(P)) fail(Fault::BadLaunch, At::here(), NOBODY, 0, m.buffer_count, sizeof...(P) - 1);
    f(Bind<P>::from(m, I)...);
}
template <class... P> constexpr size_t parameters(void (*)(P...)) { return sizeof...(P); }
// Bytes of the structure of arguments, and of an element of each buffer.
template <class... P> struct Sizes {
    static constexpr uint32_t of[] = {Bind<P>::size...};
};
template <class... P> constexpr const uint32_t* sizes(void (*)(P...)) { return Sizes<P...>::of; }
template <auto F> inline void thunk(Machine& m) { call(m, F, std::make_index_sequence<parameters(F)>{}); }

struct Entry {
    const char* name;
    void (*run)(Machine&);
    const uint32_t* sizes;
    uint32_t parameters;
    Entry* next;
    Entry(const char* n, void (*f)(Machine&), const uint32_t* s, size_t p)
        : name(n), run(f), sizes(s), parameters(static_cast<uint32_t>(p)), next(first) {
        first = this;
    }
    static Entry* first;
};

} // namespace emu

// Keeps a file of entries in the program; emu.cpp names all of them.
#define EMU_UNIT(name)                   \
    extern "C" const int emu_unit_##name; \
    extern "C" const int emu_unit_##name = 1;
