// Rows of one or two floats, several to a vector: a single row would leave most of a register empty.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "../common/simd.h"

namespace deeplab::lattice {

// Vectors are passed by reference: how they are passed by value depends on the processor.
template <typename L, int kWidth>
struct Narrow {
  static_assert(kWidth == 1 || kWidth == 2, "rows of up to two floats");
  static constexpr int kRows = L::kLanes / kWidth;
  using Vector = typename L::Float;
  // A row as one number, and vectors of such numbers.
  using Row = std::conditional_t<kWidth == 1, uint32_t, uint64_t>;
  using Rows __attribute__((vector_size(4 * L::kLanes))) = Row;

  static DEEPLAB_ALWAYS_INLINE Row load(const float* rows, int64_t index) {
    Row row;
    std::memcpy(&row, rows + index * kWidth, sizeof(row));
    return row;
  }

  // Puts row index[i] of `rows` into position i.
  static DEEPLAB_ALWAYS_INLINE void gather(const float* rows, const int32_t* index, Vector& to) {
    if constexpr (L::kGathers) {
      // In assembler: GCC inlines its intrinsics for such instructions only into functions for such processors, but
      // templates are compiled for any processor.
      using Index __attribute__((vector_size(4 * kRows), aligned(4))) = int32_t;
      const Index at = *reinterpret_cast<const Index*>(index);
      uint16_t all;
      const auto& memory = *reinterpret_cast<const float (*)[]>(rows);
      if constexpr (kWidth == 1) {
        asm("kxnorw %1, %1, %1\n\tvpxorq %0, %0, %0\n\tvpgatherdd (%2,%3,4), %0%{%1%}"
            : "=&v"(to), "=&Yk"(all)
            : "r"(rows), "v"(at), "m"(memory));
      } else {
        asm("kxnorw %1, %1, %1\n\tvpxorq %0, %0, %0\n\tvpgatherdq (%2,%3,8), %0%{%1%}"
            : "=&v"(to), "=&Yk"(all)
            : "r"(rows), "v"(at), "m"(memory));
      }
    } else {
      gather(rows, index, to, std::make_integer_sequence<int, kRows>{});
    }
  }

  // The reverse: row i of `from` is stored as row where[i], or in `nowhere` if where[i] is 0. Without a branch, which
  // would often be mispredicted.
  static DEEPLAB_ALWAYS_INLINE void scatter(const Vector& from, const int32_t* where, float* rows, float* nowhere) {
    const Rows all = reinterpret_cast<Rows>(from);
    const uintptr_t start = reinterpret_cast<uintptr_t>(nowhere), distance = reinterpret_cast<uintptr_t>(rows) - start;
    for (int i = 0; i < kRows; ++i) {
      const uintptr_t somewhere = -static_cast<uintptr_t>(where[i] != 0);
      const Row row = all[i];
      std::memcpy(reinterpret_cast<void*>(start + ((distance + where[i] * sizeof(Row)) & somewhere)), &row,
                  sizeof(row));
    }
  }

  // One weight for each row, in all floats of the row. A whole vector of weights is read (kWeightsBeyond).
  static DEEPLAB_ALWAYS_INLINE void spread(const float* weights, Vector& to) {
    to = *reinterpret_cast<const typename L::LooseFloat*>(weights);
    if constexpr (kWidth == 2) choose<2, 0>(to, to, to, std::make_integer_sequence<int, L::kLanes>{});
  }

  // The rows of the first vector from row 1 on, followed by row 0 of the second.
  static DEEPLAB_ALWAYS_INLINE void shift(const Vector& first, const Vector& second, Vector& to) {
    choose<1, kWidth>(first, second, to, std::make_integer_sequence<int, L::kLanes>{});
  }

  // The last row of the first vector, followed by all rows of the second but its last.
  static DEEPLAB_ALWAYS_INLINE void shift_back(const Vector& first, const Vector& second, Vector& to) {
    choose<1, L::kLanes - kWidth>(first, second, to, std::make_integer_sequence<int, L::kLanes>{});
  }

 private:
  template <int... i>
  static DEEPLAB_ALWAYS_INLINE void gather(const float* rows, const int32_t* index, Vector& to,
                                           std::integer_sequence<int, i...>) {
    to = reinterpret_cast<Vector>(Rows{load(rows, index[i])...});
  }

  // Puts element i / kEach + kFirst of both vectors into position i.
  template <int kEach, int kFirst, int... i>
  static DEEPLAB_ALWAYS_INLINE void choose(const Vector& first, const Vector& second, Vector& to,
                                           std::integer_sequence<int, i...>) {
#ifdef __clang__
    to = __builtin_shufflevector(first, second, (i / kEach + kFirst)...);
#else
    to = __builtin_shuffle(first, second, typename L::Int{(i / kEach + kFirst)...});
#endif
  }
};

}  // namespace deeplab::lattice
