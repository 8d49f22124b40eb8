// For hot loops over channels: a float vector type that every compiler supports, and functions that are compiled for
// several processors, the best of which is chosen when the library is loaded. setup.py forbids contraction into FMA, so
// all versions give the same bits; only stem/ and winograd/ allow it.
#pragma once

#include <cstdint>

// Functions called by such a function must be inlined, or they are compiled for the oldest processor only.
#define DEEPLAB_ALWAYS_INLINE inline __attribute__((always_inline))
#define DEEPLAB_INLINE_LAMBDA __attribute__((always_inline))

// Needs glibc's ifunc; a sanitizer's runtime is not yet initialised when ifuncs are resolved.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define DEEPLAB_HAS_TARGETS
#define DEEPLAB_TARGET_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define DEEPLAB_TARGET_VERSIONS(define)                         \
  define(__attribute__((target("arch=x86-64-v4"))), Lanes<16>); \
  define(__attribute__((target("arch=x86-64-v3"))), Lanes<8>);  \
  define(__attribute__((target("default"))), Lanes<4>)
#else
#define DEEPLAB_TARGET_CLONES
// define(attribute, lanes) defines a function for each of several processors, where `lanes` is the Lanes type of its
// registers. Only code that compares vectors needs their width: GCC handles wider vectors element by element there.
// Here it is the one processor of the compiler's flags: -march=native puts the code of this machine under a sanitizer.
#if defined(__AVX512F__)
#define DEEPLAB_TARGET_VERSIONS(define) define(, Lanes<16>)
#elif defined(__AVX2__)
#define DEEPLAB_TARGET_VERSIONS(define) define(, Lanes<8>)
#else
#define DEEPLAB_TARGET_VERSIONS(define) define(, Lanes<4>)
#endif
#endif

namespace deeplab {

using Float2 = float __attribute__((vector_size(8)));
using Float4 = float __attribute__((vector_size(16)));
// A Float4 that lies anywhere.
using LooseFloat4 = float __attribute__((vector_size(16), aligned(4)));
using Float8 = float __attribute__((vector_size(32)));

template <int kCount>
struct Lanes {
  static constexpr int kLanes = kCount;
  static constexpr bool kGathers = false;
  using Float __attribute__((vector_size(4 * kCount))) = float;
  using LooseFloat __attribute__((vector_size(4 * kCount), aligned(4))) = float;  // lies anywhere
  using Int __attribute__((vector_size(4 * kCount))) = int32_t;
  using Pair __attribute__((vector_size(4 * kCount))) = uint64_t;
};

// 16 lanes that one instruction can gather.
struct GatherLanes : Lanes<16> {
  static constexpr bool kGathers = true;
};

// Calls body(lanes), with GatherLanes instead of Lanes<16> on processors where a gather is faster than single loads:
// Intel's since Sapphire Rapids, which have the feature tested here. On earlier ones the mitigation of Downfall, an
// attack of 2023, made gathers slow; AMD's gather element by element themselves.
template <typename L, typename Body>
DEEPLAB_ALWAYS_INLINE void with_gathers(const Body& body) {
#ifdef DEEPLAB_HAS_TARGETS
  if constexpr (L::kLanes == 16) {
    static const bool fast = __builtin_cpu_supports("avx512fp16");
    if (fast) return body(GatherLanes{});
  }
#endif
  body(L{});
}

// A selection of four of the eight elements of two Float4.
#ifdef __clang__
#define DEEPLAB_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define DEEPLAB_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, ::deeplab::Lanes<4>::Int{i, j, k, l})
#endif

// Prefetches a row of floats into the L2 cache (kNear 2), where more loads from memory can be in flight than the
// processor starts by itself, or into the L1 cache (kNear 3).
template <int kNear = 2>
DEEPLAB_ALWAYS_INLINE void prefetch(const float* row, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(row) + line, 0, kNear);
  }
}

}  // namespace deeplab
