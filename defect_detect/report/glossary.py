"""What the words of a report mean, one sentence each (the definitions are METRICS')."""

from __future__ import annotations

MISS_REASONS = {
    "below_threshold": "Found, but with a score under the threshold: a lower threshold recovers exactly these.",
    "misclassified": "Found in the right place under another label.",
    "fragmented": "Several predictions of the right label each cover a piece; together at least half.",
    "mislocalized": "A prediction of the right label touches it but overlaps too little (IoU from 0.1 to the limit).",
    "merged": "A prediction that found another defect also covers this one.",
    "low_overlap_and_label": "A prediction touches it, with too little overlap and another label.",
    "unseen": "Nothing at or above the threshold is near it.",
}

ALARM_REASONS = {
    "duplicate": "A second prediction on a defect that was already found.",
    "misclassified": "On a defect, under another label.",
    "mislocalized": "Right label near a defect, but with too little overlap.",
    "background": "Nothing is there.",
}

TERMS = {
    "FN rate": "Missed defects / all defects that count. The right label and enough overlap (IoU) are required.",
    "FN rate, any class": "The same with labels ignored: a defect found under a wrong label is not missed.",
    "FPPI": "False positives per image: predictions at or above the threshold that match no defect / images.",
    "Escape rate": "Defective units without a single counting prediction / defective units. A unit is a part, tile "
    "or panel where groups are given, else an image.",
    "Alarmed elsewhere": "Defective units alarmed only where no defect is / defective units: stopped by luck.",
    "Overkill rate": "Defect-free units with at least one prediction / defect-free units.",
    "Operating point": "The score threshold. It is chosen on the validation split by the policy, frozen, and "
    "everything is reported on the test split. With a fixed score nothing is chosen.",
    "IoU": "Intersection over union of two boxes (or masks): 1 is a perfect fit, 0 no overlap.",
    "Interval": "95 %, by drawing whole units again. 'This policy' also draws the validation split again and chooses "
    "the threshold anew; 'this threshold' keeps it. The verdict uses this policy's.",
    "FROC": "Recall against FPPI over all thresholds. Its score is the mean recall at 1/8, 1/4, 1/2, 1, 2, 4 and 8 "
    "FPPI.",
    "LAMR": "Log-average miss rate at nine FPPI points from 0.01 to 1; lower is better, a silent detector has 1.",
    "AP, AP50, AP75, AR": "COCO's average precision and recall: summaries over all thresholds, not of the chosen one.",
    "LRP, oLRP": "Localization recall precision error (Oksuz et al. 2021) joins misplaced hits, false positives and "
    "misses in one figure; oLRP is its least over all thresholds, the mean over classes.",
    "POD": "Probability of detection: a curve fitted to found or missed against the logarithm of size.",
    "a90": "The size that is found with a probability of 90 %, by the fitted curve.",
    "a90/95": "The one-sided upper 95 % bound of a90: with 95 % confidence, defects at least this large are found "
    "with a probability of 90 % or more.",
    "Expected cost": "Prevalence x escape rate x cost of an escape + (1 - prevalence) x overkill rate x cost of an "
    "overkill, per unit. Costs and prevalence are given, never taken from the test split.",
    "Calibration": "The share of hits among predictions of like scores against their mean score, in bins of equal "
    "numbers. The expected calibration error is the mean distance between the two.",
    "Attribute agreement": "Accept and reject decisions against the reference (AIAG, MSA 4th ed.): effectiveness is "
    "right decisions / opportunities, kappa the agreement beyond chance, repeatability the groups whose repeats were "
    "all decided alike.",
    "Boundary IoU": "IoU of the masks' borders alone (Cheng et al. 2021): it tells outlines of large defects apart.",
    "Matched budget": "Whether two detectors' false alarms are alike enough for their FN rates to be compared.",
    "Partial FROC": "Mean recall over all FPPI up to the budget.",
    "p (Holm)": "Paired sign-flip test over units that the FN rates are equal, corrected for the number of pairs.",
    "McNemar": "Exact test on the defects that only one of two detectors found; it ignores that defects of one unit "
    "belong together.",
    "Common hits": "Defects that both detectors found at IoU 0.1: only on these is localization compared.",
    "Under-trained": "Validation was still improving when training stopped; no verdict is given on such a detector.",
    "Threshold at score floor": "The threshold is as low as the predictions reach: a lower one might have been chosen.",
}
