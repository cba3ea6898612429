"""Class names in the order of each data set's own label numbers."""

VOC_20 = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor".split()
)

UCF101_24 = tuple(
    "Basketball BasketballDunk Biking CliffDiving CricketBowling Diving Fencing FloorGymnastics "
    "GolfSwing HorseRiding IceDancing LongJump PoleVault RopeClimbing SalsaSpin SkateBoarding "
    "Skiing Skijet SoccerJuggling Surfing TennisSwing TrampolineJumping VolleyballSpiking "
    "WalkingWithDog".split()
)

JHMDB_21 = tuple(
    "brush_hair catch clap climb_stairs golf jump kick_ball pick pour pullup push run shoot_ball "
    "shoot_bow shoot_gun sit stand swing_baseball throw walk wave".split()
)
