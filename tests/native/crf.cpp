// The dense CRF's C++ on random problems of all shapes, for runs under sanitizers, which need no Python then: lattices
// of contiguous and strided features, filters in float32 against float64, marginals with one thread against three to
// the bit. How to build it: docs/crf.md.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "../../csrc/common/parallel.h"
#include "../../csrc/lattice/filter.h"
#include "../../csrc/mean_field/mean_field.h"
using namespace deeplab;
TensorView tv(void* p, std::vector<int64_t> sizes, std::vector<int64_t> strides, DType t = DType::kFloat32) {
  TensorView v;
  v.data = p;
  v.dtype = t;
  v.sizes = sizes;
  v.strides = strides;
  v.device = kCpu;
  return v;
}
int main() {
  std::mt19937 g(1);
  std::normal_distribution<float> n;
  int count = 0;
  for (int dims : {1, 2, 3, 5, 7, 16})
    for (int64_t P : {1, 3, 4, 17, 600, 2500}) {
      std::vector<float> f(P * dims);
      for (float& x : f) x = 2 * n(g);
      auto planes = tv(f.data(), {P, dims}, {1, P});
      std::vector<float> f2(P * (dims + 2));
      for (int64_t i = 0; i < P; ++i)
        for (int d = 0; d < dims; ++d) f2[i * (dims + 2) + d] = f[d * P + i];
      auto rows = tv(f2.data(), {P, dims}, {dims + 2, 1});
      detail::set_most_threads(3);
      set_num_threads(3);
      auto a = lattice::build_cpu(planes, true);
      set_num_threads(1);
      auto b = lattice::build_cpu(rows, true);
      if (a->vertices != b->vertices || memcmp(a->keys.data(), b->keys.data(), a->keys.bytes()) ||
          memcmp(a->entries.data(), b->entries.data(), a->entries.bytes())) {
        printf("DIFF lattice\n");
        return 1;
      }
      for (int64_t C : {1, 2, 3, 5, 8, 21, 33, 150}) {
        if (C == 150 && P > 1000) continue;
        std::vector<float> s(C * P * 2), q1(C * P), q2(C * P);
        for (float& x : s) x = 3 * n(g);
        std::vector<double> v(C * P), w(C * P);
        for (double& x : v) x = n(g);
        auto sv = tv(s.data(), {C, P}, {2 * P, 1}), sv2 = tv(s.data(), {C, P}, {2 * P, 2});
        for (bool adj : {false, true}) {
          lattice::filter_cpu(*a, tv(v.data(), {P, C}, {1, P}, DType::kFloat64),
                              tv(w.data(), {P, C}, {C, 1}, DType::kFloat64), adj);
          lattice::filter_cpu(*a, tv(s.data(), {P, C}, {1, P}), tv(q1.data(), {P, C}, {C, 1}), adj);
          double worst = 0;
          if (!adj) {
            std::vector<double> sd(s.begin(), s.end());
            lattice::filter_cpu(*a, tv(sd.data(), {P, C}, {1, P}, DType::kFloat64),
                                tv(w.data(), {P, C}, {C, 1}, DType::kFloat64));
            for (int64_t i = 0; i < C * P; ++i) worst = std::max(worst, std::abs(w[i] - q1[i]));
            if (worst > 2e-3) {
              printf("DIFF filter %g\n", worst);
              return 1;
            }
          }
        }
        for (auto norm : {mean_field::Normalization::kNone, mean_field::Normalization::kBefore,
                          mean_field::Normalization::kAfter, mean_field::Normalization::kSymmetric})
          for (int64_t costs : {int64_t(0), C, C * C}) {
            if (norm != mean_field::Normalization::kAfter && costs == C) continue;
            std::vector<float> cost(costs);
            for (float& x : cost) x = .1f * n(g);
            std::vector<mean_field::Kernel> kernels{{a, .3f, norm, cost},
                                                    {b, .2f, mean_field::Normalization::kAfter, {}}};
            for (int threads : {1, 3}) {
              set_num_threads(threads);
              mean_field::MeanField m(C, P, kernels);
              auto& q = threads == 1 ? q1 : q2;
              auto qv = tv(q.data(), {C, P}, {P, 1});
              m.start(P % 2 ? sv : sv2, false);
              m.run(2);
              m.marginals(qv, false);
              m.set_marginals(qv);
              m.run(1);
              m.energies();
              m.marginals(qv, true);
              m.marginals(qv, false);
              ++count;
            }
            if (memcmp(q1.data(), q2.data(), q1.size() * 4)) {
              printf("DIFF marginals C %ld P %ld dims %d\n", C, P, dims);
              return 1;
            }
          }
      }
    }
  printf("ok %d\n", count);
}
