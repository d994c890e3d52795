from benchmarks import sampling_profile

PROGRAM = """HloModule sampler

%body.1 (p: (s32[], f32[16,64])) -> (s32[], f32[16,64]) {
  %p = (s32[], f32[16,64]{1,0}) parameter(0)
  %x = f32[16,64]{1,0} get-tuple-element(%p), index=1
  %kernel = f32[64,128]{1,0} constant({...})
  %MatMul.1 = f32[16,128]{1,0} dot(%x, %kernel), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %bitcast_dynamic-update-slice_fusion = f32[16,64]{1,0} fusion(%MatMul.1), kind=kLoop, calls=%fused
  %copy.2 = f32[16,64]{1,0} copy(%bitcast_dynamic-update-slice_fusion)
  ROOT %t = (s32[], f32[16,64]{1,0}) tuple(%i, %copy.2)
}

%condition.1 (p: (s32[], f32[16,64])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (x: f32[16,64]) -> f32[16,64] {
  %copy.9 = f32[16,64]{1,0} copy(%x)
  ROOT %while.3 = (s32[], f32[16,64]{1,0}) while(%copy.9), condition=%condition.1, body=%body.1
}
"""


def test_kernels_of_loops_are_counted_and_timed():
    known = sampling_profile.kernels(PROGRAM)
    assert known["MatMul.1"] == sampling_profile.Kernel(1, "products", 2 * 16 * 64 * 128, False)
    assert {name: kernel.kind for name, kernel in known.items() if name != "MatMul.1"} == {
        "bitcast_dynamic-update-slice_fusion": "cache writes",
        "copy.2": "copies",
        "less": "compare",
    }
    lines = sampling_profile.report(known, [("MatMul.1", 2.0), ("MatMul.1", 1.0), ("copy.2", 1.0), ("copy.9", 5.0)])
    assert lines[0] == "loop 1: 4 kernels (1 compare, 1 products, 1 cache writes, 1 copies), products of 0.3 MFLOP"
    assert [line.split() for line in lines[1:]] == [
        ["75.0%", "loop", "1", "products", "2", "calls", "of", "1500.0", "us"],
        ["25.0%", "loop", "1", "copies", "1", "calls", "of", "1000.0", "us"],
    ]
