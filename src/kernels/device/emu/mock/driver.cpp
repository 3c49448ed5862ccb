// A driver of NVIDIA made up for tests: the functions that the program calls, with the host's memory and the emulator's kernels.
//
// It is a library of its own, `libcuda.so`, which a test finds first by LD_LIBRARY_PATH, and is given the doors of the emulator in the
// test's program by shoal_mock_connect. Copies to the device are done at once; copies from it, fills and launches wait in the stream until
// it is synchronised, as on a GPU: who reads too early sees it. Counts of calls and errors to give are those of the calling thread.
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

enum Result { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, NOT_FOUND = 500, LAUNCH_FAILED = 719 };

struct Doors {
    void* (*open)();
    void (*close)(void*);
    int32_t (*buffer)(void*, uint32_t, uint32_t, const void*);
    void (*read)(void*, int32_t, void*);
    int32_t (*launch)(void*, const char*, uint32_t, uint32_t, uint32_t, const void*, uint32_t, const int32_t*, uint32_t, uint32_t, uint32_t, void*);
    const uint32_t* (*sizes)(const char*, uint32_t*);
} doors;

struct Function {
    std::string name;
    std::vector<uint32_t> sizes;
};
struct Module {
    std::map<std::string, Function> functions;
};
struct Work {
    enum Kind { Fill, Down, Launch } kind;
    char* device;
    char* host;
    size_t bytes;
    const Function* function;
    uint32_t grid, block, shared;
    std::vector<uint32_t> args;
    std::vector<char*> pointers;
};
struct Stream {
    std::vector<Work> work;
};
struct Event {
    bool recorded;
};

std::mutex lock;
std::map<char*, size_t> memory;
std::set<void*> handles;
int contexts = 0;
char the_context;

thread_local void* current = nullptr;
thread_local std::map<std::string, uint64_t> counts;
struct Failure {
    uint32_t after, error;
};
thread_local std::map<std::string, Failure> failures;

// Counts a call; the error that it is to give, if any.
int called(const char* name) {
    ++counts[name];
    auto f = failures.find(name);
    if (f == failures.end()) return SUCCESS;
    if (f->second.after-- > 0) return SUCCESS;
    const int error = static_cast<int>(f->second.error);
    failures.erase(f);
    return error;
}
#define CALLED(name)                             \
    if (const int e = called(name)) return e;    \
    std::lock_guard<std::mutex> guard(lock)
// Most calls need a context.
#define INSIDE(name) \
    CALLED(name);    \
    if (current != &the_context || contexts == 0) return INVALID_CONTEXT

// Whether all of it is memory of the device; blocks do not run into each other.
bool inside(char* p, size_t bytes) {
    auto after = memory.upper_bound(p);
    if (after == memory.begin()) return false;
    auto block = std::prev(after);
    return p + bytes <= block->first + block->second;
}

int run(const Work& w) {
    if (!doors.open) return LAUNCH_FAILED;
    void* session = doors.open();
    std::vector<int32_t> buffers;
    for (size_t i = 0; i < w.pointers.size(); ++i) {
        char* p = w.pointers[i];
        if (!p) {
            buffers.push_back(-1);
            continue;
        }
        const uint32_t size = w.function->sizes[i + 1];
        // A pointer that is freed by now, or not the start of a block.
        auto block = memory.find(p);
        if (block == memory.end()) {
            doors.close(session);
            return LAUNCH_FAILED;
        }
        buffers.push_back(doors.buffer(session, static_cast<uint32_t>(block->second / size), size, p));
    }
    alignas(8) char report[136];
    const int fault = doors.launch(session, w.function->name.c_str(), w.grid, w.block, w.shared, w.args.data(),
                                   static_cast<uint32_t>(4 * w.args.size()), buffers.data(), static_cast<uint32_t>(buffers.size()), 0, 1, report);
    for (size_t i = 0; i < buffers.size(); ++i)
        if (buffers[i] >= 0) doors.read(session, buffers[i], w.pointers[i]);
    doors.close(session);
    return fault ? LAUNCH_FAILED : SUCCESS;
}

} // namespace

extern "C" {

void shoal_mock_connect(void* const* from) {
    std::lock_guard<std::mutex> guard(lock);
    std::memcpy(&doors, from, sizeof doors);
}
uint64_t shoal_mock_calls(const char* name) { return counts[name]; }
void shoal_mock_fail(const char* name, uint32_t after, uint32_t error) { failures[name] = {after, error}; }

int cuInit(unsigned) { return called("cuInit"); }
int cuDriverGetVersion(int* v) {
    *v = 13000;
    return called("cuDriverGetVersion");
}
int cuGetErrorString(int error, const char** text) {
    thread_local std::string kept;
    kept = "made up error " + std::to_string(error);
    *text = kept.c_str();
    return SUCCESS;
}
int cuDeviceGetCount(int* count) {
    *count = 1;
    return called("cuDeviceGetCount");
}
int cuDeviceGet(int* device, int ordinal) {
    *device = 7 + ordinal;
    return ordinal == 0 ? called("cuDeviceGet") : INVALID_DEVICE;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    if (device != 7) return INVALID_DEVICE;
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 8 ? 49152 : attribute == 16 ? 2 : -1;
    return called("cuDeviceGetAttribute");
}
int cuDeviceGetName(char* name, int room, int device) {
    if (device != 7 || room < 5) return INVALID_DEVICE;
    std::memcpy(name, "mock", 5);
    return called("cuDeviceGetName");
}
int cuDeviceTotalMem_v2(size_t* bytes, int device) {
    *bytes = size_t(1) << 30;
    return device == 7 ? called("cuDeviceTotalMem_v2") : INVALID_DEVICE;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
    CALLED("cuDevicePrimaryCtxRetain");
    if (device != 7) return INVALID_DEVICE;
    ++contexts;
    *context = &the_context;
    return SUCCESS;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    CALLED("cuDevicePrimaryCtxRelease_v2");
    if (device != 7 || contexts == 0) return INVALID_CONTEXT;
    --contexts;
    return SUCCESS;
}
int cuCtxSetCurrent(void* context) {
    CALLED("cuCtxSetCurrent");
    current = context;
    return SUCCESS;
}

int cuStreamCreate(void** stream, unsigned) {
    INSIDE("cuStreamCreate");
    handles.insert(*stream = new Stream);
    return SUCCESS;
}
int cuStreamSynchronize(void* stream) {
    const int error = called("cuStreamSynchronize");
    std::lock_guard<std::mutex> guard(lock);
    if (current != &the_context || !handles.count(stream)) return INVALID_CONTEXT;
    std::vector<Work> all;
    all.swap(static_cast<Stream*>(stream)->work);
    if (error) return error; // the work is lost with it
    for (const Work& w : all) {
        if (w.kind == Work::Launch) {
            if (const int e = run(w)) return e;
        } else {
            if (!inside(w.device, w.bytes)) return LAUNCH_FAILED;
            if (w.kind == Work::Fill) std::memset(w.device, 0xFF, w.bytes);
            else std::memcpy(w.host, w.device, w.bytes);
        }
    }
    return SUCCESS;
}
int cuStreamDestroy_v2(void* stream) {
    INSIDE("cuStreamDestroy_v2");
    if (!handles.erase(stream)) return INVALID_VALUE;
    delete static_cast<Stream*>(stream);
    return SUCCESS;
}

int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    INSIDE("cuMemAlloc_v2");
    if (bytes == 0) return INVALID_VALUE;
    char* p = new char[bytes + 64];
    std::memset(p, 0xFF, bytes);
    memory[p] = bytes;
    *address = reinterpret_cast<uint64_t>(p);
    return SUCCESS;
}
int cuMemFree_v2(uint64_t address) {
    INSIDE("cuMemFree_v2");
    char* p = reinterpret_cast<char*>(address);
    if (!memory.erase(p)) return INVALID_VALUE;
    delete[] p;
    return SUCCESS;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
    INSIDE("cuMemcpyHtoDAsync_v2");
    char* p = reinterpret_cast<char*>(to);
    if (!handles.count(stream) || !inside(p, bytes)) return INVALID_VALUE;
    // In order: nothing of this stream may be waiting for the old numbers.
    for (const Work& w : static_cast<Stream*>(stream)->work)
        if (w.kind == Work::Launch) return INVALID_VALUE;
    std::memcpy(p, from, bytes);
    return SUCCESS;
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
    INSIDE("cuMemcpyDtoHAsync_v2");
    char* p = reinterpret_cast<char*>(from);
    if (!handles.count(stream) || !inside(p, bytes)) return INVALID_VALUE;
    static_cast<Stream*>(stream)->work.push_back({Work::Down, p, static_cast<char*>(to), bytes, nullptr, 0, 0, 0, {}, {}});
    return SUCCESS;
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void* stream) {
    INSIDE("cuMemsetD8Async");
    char* p = reinterpret_cast<char*>(to);
    if (!handles.count(stream) || !inside(p, bytes) || value != 0xFF) return INVALID_VALUE;
    static_cast<Stream*>(stream)->work.push_back({Work::Fill, p, nullptr, bytes, nullptr, 0, 0, 0, {}, {}});
    return SUCCESS;
}

int cuModuleLoadData(void** module, const void* image) {
    INSIDE("cuModuleLoadData");
    // A fatbin, aligned.
    uint32_t magic;
    std::memcpy(&magic, image, 4);
    if (magic != 0xBA55ED50u || reinterpret_cast<uintptr_t>(image) % 8) return INVALID_VALUE;
    handles.insert(*module = new Module);
    return SUCCESS;
}
int cuModuleUnload(void* module) {
    INSIDE("cuModuleUnload");
    if (!handles.erase(module)) return INVALID_VALUE;
    delete static_cast<Module*>(module);
    return SUCCESS;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
    INSIDE("cuModuleGetFunction");
    if (!handles.count(module) || !doors.sizes) return INVALID_VALUE;
    uint32_t count = 0;
    const uint32_t* sizes = doors.sizes(name, &count);
    if (!sizes) return NOT_FOUND;
    *function = &(static_cast<Module*>(module)->functions[name] = {name, {sizes, sizes + count}});
    return SUCCESS;
}
int cuFuncGetParamInfo(void* function, size_t i, size_t* offset, size_t* size) {
    INSIDE("cuFuncGetParamInfo");
    const Function& f = *static_cast<Function*>(function);
    if (i >= f.sizes.size()) return INVALID_VALUE;
    const size_t first = (f.sizes[0] + 7) / 8 * 8;
    *offset = i == 0 ? 0 : first + 8 * (i - 1);
    *size = i == 0 ? f.sizes[0] : 8;
    return SUCCESS;
}
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned a, unsigned b, unsigned c, unsigned shared, void* stream,
                   void** parameters, void** extra) {
    INSIDE("cuLaunchKernel");
    if (!handles.count(stream) || extra || x == 0 || y != 1 || z != 1 || b != 1 || c != 1 || a > 1024 || shared > 49152) return INVALID_VALUE;
    const Function& f = *static_cast<Function*>(function);
    Work w{Work::Launch, nullptr, nullptr, 0, &f, x, a, shared, {}, {}};
    w.args.resize(f.sizes[0] / 4);
    std::memcpy(w.args.data(), parameters[0], f.sizes[0]);
    for (size_t i = 1; i < f.sizes.size(); ++i) {
        char* p;
        std::memcpy(&p, parameters[i], 8);
        w.pointers.push_back(p);
    }
    static_cast<Stream*>(stream)->work.push_back(std::move(w));
    return SUCCESS;
}

int cuEventCreate(void** event, unsigned) {
    INSIDE("cuEventCreate");
    handles.insert(*event = new Event{false});
    return SUCCESS;
}
int cuEventRecord(void* event, void* stream) {
    INSIDE("cuEventRecord");
    if (!handles.count(event) || !handles.count(stream)) return INVALID_VALUE;
    static_cast<Event*>(event)->recorded = true;
    return SUCCESS;
}
int cuEventElapsedTime(float* ms, void* start, void* end) {
    INSIDE("cuEventElapsedTime");
    if (!static_cast<Event*>(start)->recorded || !static_cast<Event*>(end)->recorded) return INVALID_VALUE;
    *ms = 0.5f;
    return SUCCESS;
}
int cuEventDestroy_v2(void* event) {
    INSIDE("cuEventDestroy_v2");
    if (!handles.erase(event)) return INVALID_VALUE;
    delete static_cast<Event*>(event);
    return SUCCESS;
}

} // extern "C"
