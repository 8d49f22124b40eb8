// A library for LD_PRELOAD that lets the n-th allocation of another library fail: SQLite's way of testing for lack of
// memory. Only calls that come straight from that library count, so Python, NumPy and torch get what they ask for.
#include <link.h>
#include <stdlib.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>

namespace {

std::atomic<uintptr_t> base{0}, code_begin{0}, code_end{0};
std::atomic<int64_t> counted{0}, failing{-1};

struct Part {
  uintptr_t begin, end;  // as in the library's file
};
Part parts[64];
std::atomic<int> left_out{0};

bool fails(void* caller) {
  const auto address = reinterpret_cast<uintptr_t>(caller);
  if (address < code_begin || address >= code_end) return false;
  for (int i = 0; i < left_out; ++i) {
    if (address - base >= parts[i].begin && address - base < parts[i].end) return false;
  }
  return counted++ == failing;
}

void* take(size_t bytes, size_t alignment) {
  if (bytes == 0) bytes = 1;
  if (alignment == 0) return malloc(bytes);
  void* data = nullptr;
  return posix_memalign(&data, alignment, bytes) == 0 ? data : nullptr;
}

// Nothing may be inlined into the operators below but this: they ask who called them.
inline void* take_or_throw(size_t bytes, size_t alignment, void* caller) {
  void* data = fails(caller) ? nullptr : take(bytes, alignment);
  if (!data) throw std::bad_alloc();
  return data;
}

struct Search {
  const char* name;
  bool found;
};

int look(dl_phdr_info* info, size_t, void* data) {
  auto* search = static_cast<Search*>(data);
  if (!strstr(info->dlpi_name, search->name)) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || !(part.p_flags & PF_X)) continue;
    base = info->dlpi_addr;
    code_begin = info->dlpi_addr + part.p_vaddr;
    code_end = code_begin + part.p_memsz;
    search->found = true;
  }
  return search->found;
}

}  // namespace

#define CALLER __builtin_return_address(0)

extern "C" {

// Whether the library whose path holds `name` is loaded; its calls count from now on.
int watch_allocations(const char* name) {
  Search search{name, false};
  dl_iterate_phdr(look, &search);
  return search.found;
}

// Calls from this part of the library do not count; at most 64 parts.
void leave_out(uintptr_t begin, uintptr_t end) {
  if (left_out == 64) abort();
  parts[left_out] = {begin, end};
  ++left_out;
}

// Begins to count anew. The n-th allocation from here on, from 0, fails; none if n < 0.
void fail_allocation(int64_t n) {
  failing = n;
  counted = 0;
}

int64_t count_allocations() { return counted; }

}  // extern "C"

void* operator new(size_t bytes) { return take_or_throw(bytes, 0, CALLER); }
void* operator new[](size_t bytes) { return take_or_throw(bytes, 0, CALLER); }
void* operator new(size_t bytes, std::align_val_t a) { return take_or_throw(bytes, size_t(a), CALLER); }
void* operator new[](size_t bytes, std::align_val_t a) { return take_or_throw(bytes, size_t(a), CALLER); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return fails(CALLER) ? nullptr : take(bytes, 0); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return fails(CALLER) ? nullptr : take(bytes, 0); }
void* operator new(size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return fails(CALLER) ? nullptr : take(bytes, size_t(a));
}
void operator delete(void* data) noexcept { free(data); }
void operator delete[](void* data) noexcept { free(data); }
void operator delete(void* data, size_t) noexcept { free(data); }
void operator delete[](void* data, size_t) noexcept { free(data); }
void operator delete(void* data, std::align_val_t) noexcept { free(data); }
void operator delete[](void* data, std::align_val_t) noexcept { free(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { free(data); }
void operator delete[](void* data, size_t, std::align_val_t) noexcept { free(data); }
