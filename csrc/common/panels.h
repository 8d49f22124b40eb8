// Weights in panels: those of kPanel outputs are adjacent in memory, so that vectors of any width read whole ones.
#pragma once

#include <cstdint>

namespace deeplab {

// As many outputs as the widest vector of any processor has lanes.
constexpr int64_t kPanel = 16;

// The last panel is filled up with zeros.
inline int64_t panels_of(int64_t outputs) { return (outputs + kPanel - 1) / kPanel; }

// The sums that the registers of a processor hold: so many rows (pixels, or tiles), of so many panels.
template <int kLanes>
struct PanelRegisters;
template <>
struct PanelRegisters<16> {
  static constexpr int kRows = 12, kPanels = 2;
};
template <>
struct PanelRegisters<8> {
  static constexpr int kRows = 6, kPanels = 1;
};
template <>
struct PanelRegisters<4> {
  static constexpr int kRows = 3, kPanels = 1;
};

}  // namespace deeplab
